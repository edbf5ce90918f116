"""The settings of a run: frozen values, checked once, before anything is computed."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from anw_jax import _check, attacks, data, keys, models, stats, train
from anw_jax.keys import MarkKey, SignatureSpace
from anw_jax.marks import Composed, Mark, PixelMark, make_mark
from anw_jax.marks.named import NAMES, strength_of

KEY_ORIGINS = ("experiment", "secret")
# Beside the marks of `anw commit`: of single pixels, and two marks under one key.
MARKS = (*NAMES, "pixels", "light+tint")
ANALYSES = ("gradient_search", "membership_inference", "shadow_models", "radioactive_data")

# Slots of the light field in "light+tint".
_LIGHT_SLOTS = 4

_NAME_RULE = "must consist of letters, digits, _ and -, since it names files"


def check_name(kind: str, name: str) -> None:
    """Raise ValueError if a name could not name a file in the workdir."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(f"{kind}: the name {name!r} {_NAME_RULE}")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The photos of a run.

    Attributes:
      source: "photos", "tfds:<name>", "folder:<path>", "npz:<path>" or "mock:<n>"; "$NAME" in
        it is replaced by the environment's value.
      num_train: number of photos that the learner gets; None for all.
      image_size: side in pixels to which photos are resized; None leaves them as they are.
    """

    source: str = "photos"
    num_train: int | None = None
    image_size: int | None = None


@dataclasses.dataclass(frozen=True)
class UserSettings:
    """One user, or a group of users with equal settings.

    Attributes:
      num_images: number of photos of this user (of each user, in a group).
      kind: "marked", "unmarked" (in training, but without a mark) or "held_out".
      scheme: "per_image", "per_group" or "per_user".
      num_groups: number of albums with "per_group"; photos are dealt to them in turn.
      mark: "hue" (rotation in YIQ), "hue_limited" (by a few degrees), "private_basis" (rotation
        in a secret basis T_u), "pixels" (blue channel of secret pixels), "light" (soft light
        and shade), "tone" (a tone curve), "tint" (a shift of the colours) or "light+tint" (both
        at their default strengths; `num_slots` must be a multiple of 4, at least 8).
      num_pixels: how many pixels the mark "pixels" changes.
      strength: of a mark in `marks.named.STRENGTHS`; None for its default, and for others.
      signature: degrees chosen by hand, as in the paper, instead of drawn by the key; needs
        scheme "per_user" and an experiment key, and is never evidence.
      count: number of users in a group; None for a single user. Users of a group have one
        signature each ("per_user"), are queried in one batch and reported together.
    """

    num_images: int
    kind: str = "marked"
    scheme: str = "per_image"
    num_groups: int | None = None
    mark: str = "hue"
    num_pixels: int = 512
    strength: float | None = None
    signature: float | None = None
    count: int | None = None

    def __post_init__(self):
        _check.integer_at_least(1, num_images=self.num_images)
        _check.one_of(data.KINDS, kind=self.kind)
        _check.one_of(keys.SCHEMES, scheme=self.scheme)
        _check.one_of(MARKS, mark=self.mark)
        _check.integer_at_least(1, num_pixels=self.num_pixels)
        object.__setattr__(self, "strength", strength_of(self.mark, self.strength))
        if (self.num_groups is None) == (self.scheme == "per_group"):
            raise ValueError(
                "num_groups must be given with scheme 'per_group' and only then, got "
                f"num_groups={self.num_groups} with scheme={self.scheme!r}"
            )
        for name in ("signature", "count"):
            if getattr(self, name) is not None and self.scheme != "per_user":
                raise ValueError(
                    f"{name} needs scheme 'per_user', one signature for all photos of a user, "
                    f"got {self.scheme!r}"
                )
        if self.count is not None:
            _check.integer_at_least(1, count=self.count)

    def create_mark(self, mark_key: MarkKey, shape: tuple[int, int], num_slots: int) -> Mark:
        """Make the mark, with secrets derived from the key.

        Args:
          mark_key: the user's secret.
          shape: height and width of the images.
          num_slots: N of the signature space.

        Raises:
          ValueError: a mark that cannot have so many slots, or not on such images.
        """
        if self.mark == "pixels":
            return PixelMark(mark_key.sub_key("pixels"), *shape, num_pixels=self.num_pixels)
        if self.mark != "light+tint":
            return make_mark(self.mark, mark_key, num_slots, self.strength)
        num_tints, rest = divmod(num_slots, _LIGHT_SLOTS)
        if rest or num_tints < 2:
            raise ValueError(
                f"num_slots must be a multiple of {_LIGHT_SLOTS}, at least {2 * _LIGHT_SLOTS}, "
                f"with the mark {self.mark!r}, got {num_slots}"
            )
        light = make_mark("light", mark_key, _LIGHT_SLOTS)
        return Composed(light, make_mark("tint", mark_key, num_tints))

    def albums(self) -> list[int] | None:
        """Return the album of each photo, or None without albums."""
        if self.num_groups is None:
            return None
        return [index % self.num_groups for index in range(self.num_images)]


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The network; see `models.create`.

    Attributes:
      name: one of `models.NAMES`.
      stem: the image size it is made for, one of `models.STEMS`.
      widths: channels of each stage; None for those of the named network.
      dtype: number type of the convolutions.
      norm: "batch" or "group".
      pretrained: file or folder of ImageNet weights to start from ("resnet50_v1" only; see
        `models.load_pretrained`); "$NAME" is replaced by the environment's value.
    """

    name: str = "small"
    stem: str = "cifar"
    widths: tuple[int, ...] | None = None
    dtype: str = "float32"
    norm: str = "batch"
    pretrained: str | None = None

    def __post_init__(self):
        self.create(2)  # checks every field

    def create(self, num_classes: int, **normalisation: Any) -> models.Model:
        """Make the network for a number of classes."""
        return models.create(
            self.name,
            num_classes,
            stem=self.stem,
            widths=self.widths,
            dtype=self.dtype,
            norm=self.norm,
            **normalisation,
        )


@dataclasses.dataclass(frozen=True)
class AttackSettings:
    """An action of the learner that may weaken the mark; see `anw_jax.attacks`.

    Attributes:
      attack: one of `attacks.NAMES`.
      parameters: its parameters, by name.
    """

    attack: str
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.create()

    def create(self) -> attacks.Attack:
        """Make the attack."""
        return attacks.create(self.attack, **self.parameters)


@dataclasses.dataclass(frozen=True)
class VerifySettings:
    """Queries and the statistical test.

    Attributes:
      statistic: the one statistic of the plan.
      alpha: the declared level.
      num_slots: N; slot 0 is "unmarked".
      grid_refinement: angles per slot in the grid that is queried, for the loss curve.
      suspect_refinement: the same for changed models.
      views: shifted and mirrored views of each image, over which its loss is averaged.
      num_fresh_keys: number of wrong keys under which each table is tested as a control.
      key_origin: "experiment" (derived from the seed, never evidence) or "secret" (drawn from
        the operating system).
    """

    statistic: str = stats.DEFAULT_STATISTIC
    alpha: float = stats.DEFAULT_ALPHA
    num_slots: int = 12
    grid_refinement: int = 3
    suspect_refinement: int = 3
    views: int = 1
    num_fresh_keys: int = 1000
    key_origin: str = "experiment"

    def __post_init__(self):
        _check.one_of(stats.STATISTICS, statistic=self.statistic)
        _check.in_open_interval(0.0, 1.0, alpha=self.alpha)
        _check.integer_at_least(2, num_slots=self.num_slots)
        _check.integer_at_least(1, grid_refinement=self.grid_refinement)
        _check.integer_at_least(1, suspect_refinement=self.suspect_refinement)
        _check.integer_at_least(1, views=self.views)
        _check.integer_at_least(1, num_fresh_keys=self.num_fresh_keys)
        _check.one_of(KEY_ORIGINS, key_origin=self.key_origin)
        _ = self.grid  # raises for too many slots

    @property
    def space(self) -> SignatureSpace:
        """The space from which keys draw slots."""
        return SignatureSpace(self.num_slots)

    @property
    def grid(self) -> SignatureSpace:
        """The finer grid that is queried; every `grid_refinement`-th angle is a slot."""
        return SignatureSpace(self.num_slots * self.grid_refinement)

    @property
    def grid_of_changed(self) -> SignatureSpace:
        """The grid on which changed models are queried."""
        return SignatureSpace(self.num_slots * self.suspect_refinement)


class RunSettings:
    """What the settings of a run of any kind have in common; subclasses are dataclasses.

    Attributes:
      name: of the experiment.
      OWN: fields in which runs that share a workdir may differ.
    """

    OWN: ClassVar[tuple[str, ...]] = ("name",)
    name: str

    @property
    def case(self) -> str:
        """The folder that runs of all seeds share."""
        return self.name

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dataclasses.asdict(self)

    def case_dict(self) -> dict[str, Any]:
        """Return the plain values that runs sharing a workdir must have in common."""
        return {name: value for name, value in self.to_dict().items() if name not in self.OWN}


@dataclasses.dataclass(frozen=True)
class Settings(RunSettings):
    """A whole run.

    Attributes:
      name: of the experiment; names the results.
      seed: of data, users, network and training. Experiment keys derive from it too.
      data: the photos.
      users: by name; `kind`, not the name, determines whether a user is a control.
      model: the network.
      train: the training; its own seed is replaced by `seed`.
      verify: queries and test.
      exclude: users whose photos are left out of training; they are still verified.
      attacks: the learner's changes to photos, batches or steps, by name, in that order.
      suspects: changed models that are queried beside the trained one, by name.
      analyses: further measurements on the trained model, of `ANALYSES`.
      case: experiments of one case share the workdir, the training and its tables; they may
        differ in `name`, `suspects` and `analyses` only. "" takes the name.
    """

    OWN = ("name", "suspects", "analyses")
    name: str
    seed: int
    data: DataSettings
    users: Mapping[str, UserSettings]
    model: ModelSettings
    train: train.TrainSettings
    verify: VerifySettings
    exclude: tuple[str, ...] = ()
    attacks: Mapping[str, AttackSettings] = dataclasses.field(default_factory=dict)
    suspects: Mapping[str, AttackSettings] = dataclasses.field(default_factory=dict)
    analyses: tuple[str, ...] = ()
    case: str = ""

    def __post_init__(self):
        _check.integer_at_least(0, seed=self.seed)
        object.__setattr__(self, "case", self.case or self.name)
        if not self.users:
            raise ValueError("users must name at least one user")
        for kind in ("users", "attacks", "suspects"):
            for name in getattr(self, kind):
                check_name(kind, name)
        for name in self.exclude:
            _check.one_of(self.users, exclude=name)
        for name in self.analyses:
            _check.one_of(ANALYSES, analyses=name)
        for name, user in self.users.items():
            self._check_signature(name, user)
        self._check_attacks()
        object.__setattr__(self, "train", dataclasses.replace(self.train, seed=self.seed))
        # Config files sort by name; reports show the marked users first.
        by_kind = sorted(self.users, key=lambda name: data.KINDS.index(self.users[name].kind))
        object.__setattr__(self, "users", {name: self.users[name] for name in by_kind})

    def _check_signature(self, name: str, user: UserSettings) -> None:
        if user.signature is None:
            return
        valid = self.verify.space.degrees[1:].tolist()
        if user.signature not in valid:
            shown = ", ".join(f"{degrees:g}" for degrees in valid[:16])
            raise ValueError(
                f"users.{name}: signature must be a valid slot of {self.verify.num_slots} "
                f"({shown} degrees), got {user.signature:g}"
            )
        if self.verify.key_origin != "experiment":
            raise ValueError(
                f"users.{name}: a signature chosen by hand needs key_origin 'experiment', "
                f"got {self.verify.key_origin!r}"
            )

    def _check_attacks(self) -> None:
        for name, chosen in self.attacks.items():
            if isinstance(chosen.create(), attacks.ModelAttack):
                raise ValueError(
                    f"attacks.{name}: {chosen.attack!r} changes a trained model: put it into "
                    "suspects"
                )
        for name, chosen in self.suspects.items():
            if not isinstance(chosen.create(), attacks.ModelAttack):
                raise ValueError(
                    f"suspects.{name}: {chosen.attack!r} acts before or during training: put "
                    "it into attacks"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        values = dataclasses.asdict(self)
        for user in values["users"].values():
            if user["strength"] is None:
                # Workdirs from before marks had one lack the field; they can still be resumed.
                del user["strength"]
        if self.verify.views == 1:  # likewise
            del values["verify"]["views"]
        return values
