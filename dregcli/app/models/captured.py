"""What a run keeps of its model's code, and the code that a run has kept."""

from pathlib import Path

from dregcli.app.models.code import Code, CodeKind, digest_of
from dregcli.store import layout
from dregcli.store.code import CapturedCode


def captured(code: Code | None) -> CapturedCode | None:
    """Return what a run keeps of a model's code; None for a built-in model.

    Of a file it keeps the content, and the contents of the files beside it that it imports; of an installed package
    the version, and the digests of the module's file and of the files of the package that it imports.
    """
    if code is None or code.digest is None:
        return None
    about = {
        "word": code.word,
        "kind": code.kind.value,
        "module": code.module,
        "class": code.name,
        "sha256": code.digest,
        "distribution": dict(code.distribution),
        "digests": code.digests,
    }
    return CapturedCode(about, code.files if code.kind is CodeKind.FILE else {}, code.place)


def is_of(kept: CapturedCode, digest: str | None) -> bool:
    """Whether what a run keeps is whole, and is the code that a digest in its spec identifies."""
    about = kept.about
    try:
        if about["kind"] == CodeKind.FILE:
            whole = copy_in(Path(), kept).digest == digest
        else:
            whole = about["kind"] == CodeKind.MODULE and digest_of(about["digests"]) == digest
        words = (about["word"], about["module"], about["class"])
        if not isinstance(about["distribution"], dict):
            return False
        return whole and about["sha256"] == digest and all(isinstance(word, str) for word in words)
    except (KeyError, TypeError, AttributeError):
        return False


def lies_in_a_run(place: str) -> bool:
    """Whether a file lies in a run, where ``dreg runs import`` and not the user may have put it.

    Args:
        place: the place of code, as ``Code.place`` has it. A relative one counts as such a file: dreg writes none,
            and a copied store could lead with it to a file that came along.
    """
    path = Path(place.rpartition(":")[0])
    documents = (layout.RUN_FILE, layout.SPEC_FILE)
    if path.suffix != ".py":
        return False
    return not path.is_absolute() or any(
        all((each / name).exists() for name in documents) for each in path.resolve().parents
    )


def copy_in(run: Path, kept: CapturedCode) -> Code:
    """Return the copy of a file's code that a run keeps."""
    about, folder = kept.about, run / layout.CODE_FOLDER
    main = f"{about['module']}.py"
    files = {main: kept.files[main], **kept.files}
    return Code(CodeKind.FILE, about["word"], about["module"], about["class"], folder, files)
