"""Builds stage-2 data: questions become answers with their searches, by way of a teacher."""
