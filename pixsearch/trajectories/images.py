"""The images of trajectories: linked, copied or written into their folder."""

import hashlib
import re
import shutil
from pathlib import Path

from pixsearch.config import ImageStorage
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.trajectories.quarantine import Reason, Unusable
from pixsearch.trajectories.sources import SourcedQuestion

_HASH_DIGITS = 16  # two of ten million images have one hash once in 370,000 builds
_LONGEST_NAME = 100


class ImageFolder:
    """Puts each image into `folder` once, as `SOURCE/HASH/NAME`.

    The name is that of its own file, by which `pixsearch.datasets.exclusion` knows images that are
    evaluated on; the hash keeps those of one name apart.

    An image that has no file of its own (it lies inside another) is written as PNG, so that no
    pixel changes under the masks.
    """

    def __init__(self, folder: Path, storage: ImageStorage) -> None:
        self._folder = folder
        self._storage = storage

    def put(self, asked: SourcedQuestion) -> str | None:
        """The path of a question's image relative to the folder; None without an image.

        Raises:
            Unusable: the image is missing or cannot be decoded.
        """
        question = asked.question
        if question.load_image is None:
            return None
        name = f"{asked.source}/{_name(question)}"
        target = self._folder / name
        if not self._is_there(question, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            self._put(question, target)
        return name

    def _is_there(self, question: AnnotatedQuestion, target: Path) -> bool:
        """Whether the target is what this run would make of it: an earlier one may have linked."""
        if question.image_file is None or self._storage is ImageStorage.copy:
            return target.is_file() and not target.is_symlink()
        return target.is_symlink() and target.exists()

    def _put(self, question: AnnotatedQuestion, target: Path) -> None:
        assert question.load_image is not None
        try:
            image = question.load_image()
        except ValueError as error:
            raise Unusable(Reason.broken_image, str(error)) from error
        aside = target.with_name(f".{target.name}")
        if question.image_file is None:
            image.save(aside, "PNG")
        elif self._storage is ImageStorage.copy:
            shutil.copyfile(question.image_file, aside)
        else:
            aside.unlink(missing_ok=True)
            aside.symlink_to(Path(question.image_file).resolve())
        aside.replace(target)


def _name(question: AnnotatedQuestion) -> str:
    """Another for each image; what lies inside another file is named by its id there."""
    id = question.image_id or question.image_file or question.id
    name = Path(question.image_file).name if question.image_file else f"{Path(id).name}.png"
    readable = re.sub(r"[^\w.#-]+", "-", name)[-_LONGEST_NAME:]
    return f"{hashlib.sha256(id.encode()).hexdigest()[:_HASH_DIGITS]}/{readable}"
