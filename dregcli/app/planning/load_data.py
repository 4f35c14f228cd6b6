"""Load the data of a run: the data set that the options name, or the data of an earlier run."""

from pathlib import Path

from dregcli.app.planning.run_data import RunData
from dregcli.data.catalogue import conventions_of, known_datasets, load_dataset
from dregcli.data.dataset import Dataset
from dregcli.data.folders import data_command, place_of
from dregcli.errors import DataCorrupt, DatasetMissing, DregError, Fault
from dregcli.names import nearest, unknown
from dregcli.specs.options import RunOptions
from dregcli.specs.run import RunSpec


def load_asked(options: RunOptions, data_dir: Path) -> tuple[Dataset | None, DregError | None, list[Fault]]:
    """Load the data set that the options name.

    Returns:
        The data, or None; the error if the data cannot be loaded; and every fault of the options.
    """
    name, convention = options.dataset, options.split_convention
    names = known_datasets(data_dir)
    if name not in names:
        return None, None, [Fault("dataset", unknown("data set", name, names))]
    try:
        conventions = conventions_of(name, data_dir)
        if convention is not None and convention not in conventions:
            near = nearest(convention, conventions)
            meant = f" Did you mean '{near}'?" if near else ""
            splits = "the splits" if len(conventions) > 1 else "only the split"
            message = f"{name} has {splits} {', '.join(conventions)}, got '{convention}'.{meant}"
            return None, None, [Fault("split-convention", message)]
        return load_dataset(name, data_dir, convention), None, []
    except DregError as error:
        return None, error, []


def data_of(spec: RunSpec, data_dir: Path) -> RunData:
    """Load the data of an earlier run.

    Raises:
        DatasetMissing: the data set is not on this machine.
        DataCorrupt: the values or their splits differ from the data that the run was trained on.
    """
    if spec.dataset not in known_datasets(data_dir):
        what = f"The run's data set '{spec.dataset}' was imported, but is no longer there."
        where = f"{place_of(spec.dataset, data_dir)}; the run's data have the checksum {spec.data_checksum[:16]}"
        again = data_command("data", "import", "FILE", "--name", spec.dataset, data_dir=data_dir)
        hint = f"give the folder that has it with --data-dir; or import it again: {again}"
        raise DatasetMissing(what, where=where, hint=hint)
    if spec.split_convention in conventions_of(spec.dataset, data_dir):
        dataset = load_dataset(spec.dataset, data_dir, spec.split_convention)
    else:
        dataset = load_dataset(spec.dataset, data_dir)
    check_data(spec, dataset)
    return RunData(dataset, spec)


def check_data(spec: RunSpec, dataset: Dataset) -> None:
    """Refuse data that differ from the data of an earlier run.

    Raises:
        DataCorrupt: the values or their splits differ from the data that the run was trained on.
    """
    if dataset.checksum != spec.data_checksum:
        what = f"The {spec.dataset} data here are not the data of the run: their checksums differ."
        where = f"here {dataset.checksum[:16]}, in the run {spec.data_checksum[:16]}"
        hint = "give the folder of the data that the run was trained on with --data-dir"
        raise DataCorrupt(what, where=where, hint=hint)
