"""Every error that `grela` raises on purpose, as a tree.

    GrelaError                       anything below; catch it to catch all
    ├── DataError                    the input data is not what it must be
    │   ├── ReadError                a file or frame cannot be read (names file and row)
    │   ├── ColumnError              a column is missing or ambiguous
    │   ├── ValueInDataError         a value is null, of the wrong type, or absurd (names file and row)
    │   ├── EmptyDataError           nothing is left: no rows, or all filtered out
    │   └── SourceError              a catalogued data set cannot be had (says what to put where)
    ├── ConfigError                  a setting is unknown, missing or nonsense
    ├── RunError                     a run folder is missing, foreign, damaged or belongs to another command
    │   └── CheckpointError          a checkpoint cannot be written or read
    ├── TrainingError                training cannot go on: its loss is no longer a number
    ├── RanksError                   processes that train together cannot begin, do not agree, or have lost one another
    ├── ModelError                   weights do not fit the model
    ├── StateError                   a stored state is damaged, or of another model or format
    ├── KernelError                  the compiled kernels cannot be had on this machine, or for this model
    ├── CatalogueError               an item that cannot be added or removed
    ├── ExportError                  a model cannot be written for another runtime
    ├── WorkersError                 an engine that does the parts of a job has lost some for good
    ├── RequestError                 a recommendation was asked for that cannot be given
    │   └── RefusedError             the service refuses a request (has the status of its answer)
    ├── ServiceError                 the service cannot start, or cannot be reached
    ├── EventError                   a live event cannot be logged: no text, no time
    ├── TopicError                   a topic of events cannot be read
    └── StoreError                   the store of live events cannot be opened, read or written

A message says what was got, where, what was expected and what to do.
"""


class GrelaError(Exception):
    """Base of all errors raised on purpose."""


class DataError(GrelaError):
    """The input data is not what it must be."""


class ReadError(DataError):
    """A file or frame cannot be read."""


class ColumnError(DataError):
    """A column is missing or ambiguous."""


class ValueInDataError(DataError):
    """A value is null, of the wrong type, or absurd."""


class EmptyDataError(DataError):
    """Nothing is left to work with."""


class SourceError(DataError):
    """A catalogued data set cannot be had."""


class ConfigError(GrelaError):
    """A setting is unknown, missing or nonsense."""


class RunError(GrelaError):
    """A run folder is missing, foreign, damaged or belongs to another command."""


class CheckpointError(RunError):
    """A checkpoint cannot be written or read."""


class TrainingError(GrelaError):
    """Training cannot go on."""


class RanksError(GrelaError):
    """Processes that train together cannot begin, do not agree, or have lost one another."""


class ModelError(GrelaError):
    """Weights do not fit the model."""


class StateError(GrelaError):
    """A stored state is damaged, or of another model or format."""


class KernelError(GrelaError):
    """The compiled kernels cannot be had on this machine, or for this model."""


class CatalogueError(GrelaError):
    """An item cannot be added to the catalogue, or removed from it."""


class ExportError(GrelaError):
    """A model cannot be written for another runtime."""


class WorkersError(GrelaError):
    """An engine that does the parts of a job has lost some for good."""


class RequestError(GrelaError):
    """A recommendation was asked for that cannot be given."""


class EventError(GrelaError):
    """A live event cannot be logged."""


class StoreError(GrelaError):
    """The store of live events cannot be opened, read or written."""


class RefusedError(RequestError):
    """The service refuses a request; `status` is that of its answer: 4xx, or 503 where it cannot take more now."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


class ServiceError(GrelaError):
    """The service cannot start, or cannot be reached."""


class TopicError(GrelaError):
    """A topic of events cannot be read."""
