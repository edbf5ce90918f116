"""Exceptions of this package, for errors that are not about a single argument."""


class AnwError(Exception):
    """Base class; messages say in one line how to fix the error."""


class KeyFileError(AnwError, ValueError):
    """A mark-key file is missing, damaged, or not a mark-key file."""


class CommitmentError(AnwError, ValueError):
    """Key, manifest or plan differ from what was committed to before training."""


class RecordError(AnwError, ValueError):
    """The record of a sequential audit is out of order, damaged or invalid."""


class SourceError(AnwError, ValueError):
    """A data source cannot be read; the message says what to install or fix."""


class FileKindError(AnwError, ValueError):
    """A path is that of a folder, a device, a pipe or a socket instead of a file."""


class CheckpointError(AnwError, ValueError):
    """A checkpoint is damaged or belongs to another run; names the differing leaves."""


class SettingsError(AnwError, ValueError):
    """A settings file or an override has an invalid setting."""


class DivergenceError(AnwError, ArithmeticError):
    """Training produced a loss that is not finite; names the window of steps."""


class SuspectError(AnwError, RuntimeError):
    """A suspect cannot be opened or queried, or its answers contradict its declaration."""


class RefusedTooManyError(SuspectError):
    """A suspect answers, but refused more of its queries than may be left out."""


class RefusedPictureError(SuspectError):
    """The service rejected an image: HTTP 4xx for it alone, or an answer without it.

    Not raised for the statuses 401, 403, 404, 405, 408 and 429, which concern every request.
    """


class MissingLibraryError(AnwError, ImportError):
    """An optional library is not installed; names the extra that installs it."""


def missing_library(error: ImportError) -> MissingLibraryError:
    """Turn a failed import into an error of one line that says what to install.

    Raises:
      ImportError: `error` itself, if it is a module of this package that is missing.

    Example:
      >>> print(missing_library(ModuleNotFoundError("No module named 'jax'", name="jax")))
      jax is not installed: pip install -r requirements.txt in the checkout
    """
    if isinstance(error, MissingLibraryError):
        return error
    name = (error.name or "").partition(".")[0]
    if name == "anw_jax":
        raise error
    if isinstance(error, ModuleNotFoundError) and name:
        why = f"{name} is not installed"
    else:
        why = " ".join(str(error).split()).rstrip(".")
    return MissingLibraryError(f"{why}: pip install -r requirements.txt in the checkout")


class BudgetError(AnwError, RuntimeError):
    """The query budget is spent; the answers so far are kept."""


class CacheError(AnwError, ValueError):
    """An answer file is damaged, in use, or belongs to another suspect."""


class CaseError(AnwError, ValueError):
    """A file of an audit is missing, damaged, or used in the wrong order."""


class ChangedFileError(CaseError):
    """A file of an audit differs from the digest recorded in a later file."""


class OpenerError(AnwError, RuntimeError):
    """The owner's command that opens leaves failed; the audit can be resumed."""


class JaxError(AnwError, RuntimeError):
    """jax cannot start, or computes wrong numbers; names the variable or the flag."""


class AggregationError(AnwError, RuntimeError):
    """A masked sum cannot be completed: too few parties are left, or a message was changed."""


class PartyError(AnwError, RuntimeError):
    """A party of a joint training has gone, stays silent, or sends something unexpected."""
