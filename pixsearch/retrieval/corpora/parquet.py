"""Parquet files with texts and images, as `datasets` writes them.

Columns: `id`; `contents` or `text`, and `title`, if there is one, as in `json_lines`; `image` or
`images`, if there are any: {"bytes", "path"} or plain bytes, one of them or a list.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from pixsearch.retrieval.corpora.document import CorpusDocument
from pixsearch.retrieval.corpora.lines import id_of
from pixsearch.retrieval.corpora.titles import title_and_text

ROWS_AT_A_TIME = 64
COLUMNS = ("id", "title", "contents", "text", "image", "images")


def read_parquet(path: Path) -> Iterator[CorpusDocument]:
    """The rows of a file, or of all `*.parquet` of a folder in the order of their names.

    Raises:
        ValueError: no such file, a column is missing, an image is not embedded.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no *.parquet in this folder; source names the corpus to import")
    for file in files:
        yield from _read_file(file)


def _read_file(path: Path) -> Iterator[CorpusDocument]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "id" not in names or not {"contents", "text"} & set(names):
                raise ValueError(
                    f"{path} has the columns {', '.join(names)}: id and contents (or text) are "
                    "needed, rename them"
                )
            columns = [name for name in COLUMNS if name in names]
            number = 0
            for batch in file.iter_batches(ROWS_AT_A_TIME, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield _document(row, f"{path}, row {number}")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; source names the corpus to import") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}; fetch the file again") from error


def _document(row: dict[str, Any], where: str) -> CorpusDocument:
    found = row.get("images", row.get("image")) or []
    images = found if isinstance(found, list) else [found]
    title, text = title_and_text(row, where)
    return CorpusDocument(
        id=id_of(row, where),
        title=title,
        contents=text,
        images=tuple(_image_bytes(image, where) for image in images if image is not None),
    )


def _image_bytes(image: Any, where: str) -> bytes:
    content = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(content, bytes):
        raise ValueError(f"{where}: its image is not embedded; write the file with its images")
    return content
