"""The few errors whose repair needs more than the name of an argument."""


class AnwError(Exception):
    """Base of the errors below; each is raised with a one-line repair."""


class KeyFileError(AnwError, ValueError):
    """A mark-key file is missing, damaged, or not a mark-key file."""


class CommitmentError(AnwError, ValueError):
    """Key, manifest or plan differ from what was committed to before training."""


class RecordError(AnwError, ValueError):
    """The record of a sequential audit is out of order, damaged, or breaks its own rules."""


class SourceError(AnwError, ValueError):
    """A data source cannot be read; the message says what to install or mend."""


class FileKindError(AnwError, ValueError):
    """A path leads to a folder, a device, a pipe or a socket where a file is needed."""


class CheckpointError(AnwError, ValueError):
    """A checkpoint is damaged or belongs to another run; names the differing leaves."""


class SettingsError(AnwError, ValueError):
    """A settings file or an override asks for something impossible."""


class DivergenceError(AnwError, ArithmeticError):
    """Training produced a loss that is not finite; names the window of steps."""


class SuspectError(AnwError, RuntimeError):
    """A suspect cannot be opened or asked, or answers otherwise than it declares."""


class RefusedPictureError(SuspectError):
    """A picture that the service refused: HTTP 4xx for it alone, or an answer without it.

    Not the statuses 401, 403, 404, 405, 408 and 429, which refuse whatever is asked.
    """


class MissingLibraryError(AnwError, ImportError):
    """An optional library is not installed; names the extra that brings it."""


class BudgetError(AnwError, RuntimeError):
    """The query budget is spent; what was answered is kept."""


class CacheError(AnwError, ValueError):
    """A file of answers is damaged, in use, or belongs to another suspect."""


class CaseError(AnwError, ValueError):
    """A file of an audit is missing, damaged, or out of turn."""


class ChangedFileError(CaseError):
    """A file of an audit is not the one that a later file names."""


class OpenerError(AnwError, RuntimeError):
    """The owner's command that opens leaves failed; nothing is lost."""


class JaxError(AnwError, RuntimeError):
    """jax cannot start, or computes wrong numbers; names the variable or the flag."""
