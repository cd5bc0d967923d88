"""golden/record.py runs other people's scripts, which are not part of this repository: no test."""

collect_ignore = ["golden/record.py"]
