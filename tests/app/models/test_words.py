"""What the word of --model means."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dregcli.app.models import words
from dregcli.app.models.words import ClassInFile, ClassInModule, read_word
from dregcli.errors import SpecError


def test_a_file_is_found_from_the_current_folder_from_the_home_folder_and_by_its_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read_word("my_model.py:ConvVae") == ClassInFile(tmp_path / "my_model.py", "ConvVae")
    assert read_word("models/../a:b.py:ConvVae") == ClassInFile(tmp_path / "a:b.py", "ConvVae")
    assert read_word("~/m.py:A") == ClassInFile(tmp_path / "home" / "m.py", "A")
    assert read_word("/x/m.py:A") == ClassInFile(Path("/x/m.py"), "A")
    assert read_word("/x/m.py:A").word == "m.py:A"


def test_a_module_and_an_entry_point_mean_a_class_of_a_package(monkeypatch) -> None:
    assert read_word("package.module:ConvVae") == ClassInModule("package.module", "ConvVae", "package.module:ConvVae")
    found = [EntryPoint("deep-vae", "deep.models:DeepVae", words.GROUP)]
    monkeypatch.setattr(words, "_entry_points", lambda: found)
    assert read_word("deep-vae") == ClassInModule("deep.models", "DeepVae", "deep-vae")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("vea", "no model is called 'vea'. Did you mean 'vae'?"),
        ("my_model.py", "name the class in the file too, such as --model my_model.py:ConvVae"),
        ("my_model.py:", "name the class in the file too, such as --model my_model.py:ConvVae"),
        ("my model:ConvVae", "'my model' is neither a Python file, which ends with .py, nor the name of a module."),
        (":ConvVae", "no model is called ':ConvVae'."),
        ("", "no model is called ''."),
    ],
)
def test_a_word_that_means_nothing_is_refused_with_the_right_form(word: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_word(word)
    (fault,) = caught.value.faults
    assert fault.field == "model"
    assert fault.message.startswith(message)
