"""Which part of a model's output is used, and how it is converted to a loss."""

import dataclasses

import numpy as np

from anw_jax import _check
from anw_jax.keys.plan_fields import CLASS_KINDS, DEFAULT_LABEL_VIEWS, FITS, KINDS
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.pictures import Augmentation, cropped
from anw_jax.suspects.protocol import Answers

# The kinds of access that each kind of answer allows: itself and all with less information.
_FROM = {
    "logits": CLASS_KINDS,
    "probabilities": CLASS_KINDS[1:],
    "top_k": ("top_k", "label"),
    "label": ("label",),
    "error": ("error",),
    "image": (),
}

# The smallest normal float32: logarithms stay finite.
_TINY = float(np.finfo(np.float32).tiny)


def reachable(declaration: Declaration) -> tuple[str, ...]:
    """Return the kinds of access that a suspect's answers allow, the most first."""
    return _FROM[declaration.answer]


def check_has_losses(declaration: Declaration) -> Declaration:
    """Return the declaration of a suspect that can be asked about photos.

    Raises:
      ValueError: one that answers with images.
    """
    if not _FROM[declaration.answer]:
        raise ValueError(
            f"answer must not be {declaration.answer!r} for an audit of photos, which needs "
            "losses: it is for marks in a model's outputs (suspects.ask_images)"
        )
    return declaration


@dataclasses.dataclass(frozen=True)
class Access:
    """Which part of the output is used; part of the plan, fixed before the first query.

    Each kind gives one real number for each image and slot, **lower is evidence**. The same
    exact test serves all, because its validity does not depend on the score. With y the true
    label, or with `true_labels=False` the model's own answer on the unmarked original:

    * "logits": −log softmax(logits)[y], nats.
    * "probabilities": −log max(p_y, 1.2e-38).
    * "rounded": p rounded to `decimals` digits (half to even, as IEEE does), then
      −log max(p_y, ½·10^−decimals). Rounded values are not made to sum to one.
    * "top_k": the k listed labels keep their probability; every other class gets
      min((1 − sum of the listed) / (C − k), the smallest listed), at least 0, because it
      cannot be above a listed one; then the logarithm as before, with ½·10^−decimals as the
      smallest probability if the suspect declares `decimals`.
    * "label": with h of K augmented copies (`augmentation`) classified as y, the loss is
      −log((h + ½) / (K + 1)).
    * "error": the number that the suspect answers with, whatever y is.

    With several augmented copies and any other kind, the loss is the mean over the copies. An
    answer that contains NaN or infinity gives NaN for its image and slot; the test leaves such
    a photo out of its unit, before the key is opened.

    More than "logits" is access to the weights: `verify.gradient_search` on a model of JAX;
    its evidence is the same table.

    Attributes:
      kind: one of `KINDS`.
      true_labels: False if they are not known or not reliable; "error" uses no labels.
      num_augmentations: K, the number of queries for each image and slot; None for
        16 with "label" and 1 otherwise. K = 1 queries the image unchanged.
      decimals: for "rounded", digits after the point, 1 to 12.
      k: for "top_k"; None for as many as the suspect lists.
      augmentation: how the changes are drawn.
      fit: how a picture gets the shape of the suspect's `input_size`, the same for all slots:
        "squash" resizes it whole, "crop" resizes the largest centred part of that shape.

    Raises:
      TypeError, ValueError: an unknown kind, or numbers that do not fit it.

    Example:
      >>> Access("label").num_augmentations, Access("logits").num_augmentations
      (16, 1)
      >>> Access("rounded", decimals=2).describe()
      'probabilities rounded to 2 decimals, true labels, 1 query per image and slot'
    """

    kind: str = "logits"
    true_labels: bool = True
    num_augmentations: int | None = None
    decimals: int | None = None
    k: int | None = None
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    fit: str = "squash"

    def __post_init__(self):
        _check.one_of(KINDS, kind=self.kind)
        _check.is_instance(bool, true_labels=self.true_labels)
        _check.is_instance(Augmentation, augmentation=self.augmentation)
        _check.one_of(FITS, fit=self.fit)
        if self.num_augmentations is None:
            number = DEFAULT_LABEL_VIEWS if self.kind == "label" else 1
            object.__setattr__(self, "num_augmentations", number)
        # As plain numbers: JSON has none of NumPy's.
        for name in ("num_augmentations", "decimals", "k"):
            value = getattr(self, name)
            if value is not None:
                value = _check.integer_at_least(1, **{name: value})
            object.__setattr__(self, name, value)
        if (self.decimals is None) == (self.kind == "rounded"):
            raise ValueError(
                "decimals must be given with kind='rounded' and only there, "
                f"got kind={self.kind!r}, decimals={self.decimals!r}"
            )
        if self.decimals is not None and self.decimals > 12:
            raise ValueError(f"decimals must be at most 12, got {self.decimals}")
        if self.k is not None and self.kind != "top_k":
            raise ValueError(f"k belongs to kind='top_k', got kind={self.kind!r}")

    @property
    def needs_labels(self) -> bool:
        """Whether true labels are an input."""
        return self.true_labels and self.kind != "error"

    @classmethod
    def best_of(cls, declaration: Declaration, **others) -> "Access":
        """Return the access that uses all of a suspect's answers."""
        return cls(check_has_losses(declaration).answer, **others)

    def describe(self) -> str:
        """Return one line for plans and reports."""
        kind = {
            "rounded": f"probabilities rounded to {self.decimals} decimals",
            "top_k": f"top {self.k or 'k'} labels with probabilities",
            "label": "top-1 label",
            "error": "a loss that the model's own code computes",
        }.get(self.kind, self.kind)
        labels = "true labels" if self.true_labels else "the model's own labels"
        if self.kind == "error":
            labels = "no labels"
        number = self.num_augmentations
        queries = "1 query" if number == 1 else f"{number} queries"
        crop = ", the centre of each picture" if self.fit == "crop" else ""
        # Shifts filled by reflection are not named, as in the texts of earlier declarations.
        is_black = number > 1 and self.augmentation.fill == "black"
        fill = ", shifts filled with black" if is_black else ""
        return f"{kind}, {labels}, {queries} per image and slot{fill}{crop}"

    def check_fits(self, declaration: Declaration) -> None:
        """Check that a suspect's answers allow this kind of access.

        Raises:
          ValueError: names the kinds that they allow.
        """
        allowed = _FROM[check_has_losses(declaration).answer]
        if self.kind not in allowed:
            raise ValueError(
                f"a suspect that answers with {declaration.answer} can be audited by "
                f"{', '.join(allowed)}; got kind={self.kind!r}"
            )
        if self.kind != "top_k":
            return
        listed = declaration.k if declaration.answer == "top_k" else declaration.num_classes
        if self.k is None and declaration.answer != "top_k":
            raise ValueError("k must be given for a suspect that answers with all classes")
        if self.k is not None and self.k > listed:
            raise ValueError(f"k must be at most the {listed} that the suspect lists")

    def fitted(self, picture: np.ndarray, declaration: Declaration) -> np.ndarray:
        """Return the part of a uint8 picture `[H, W, 3]` to query, before it is resized."""
        return cropped(picture, declaration.input_size) if self.fit == "crop" else picture

    def losses(
        self, answers: Answers, labels: np.ndarray, declaration: Declaration
    ) -> np.ndarray:
        """Return a loss for each answer, float64 `[b]`; with "label" 0 for y and 1 otherwise.

        Args:
          answers: of b pictures.
          labels: y, integers `[b]`; not used with "error".
          declaration: of the suspect.
        """
        rows = np.arange(len(labels))
        if self.kind == "error":
            return np.where(
                _is_usable(answers), answers.scores[:, 0].astype(np.float64), np.nan
            )
        if self.kind == "label":
            first = first_labels(answers)
            values = (first != labels).astype(np.float64)
            return np.where(_is_usable(answers), values, np.nan)
        if self.kind == "logits":
            return _cross_entropy(answers.scores, labels)
        decimals = self.decimals or declaration.decimals
        floor = _TINY if decimals is None else 0.5 * 10.0**-decimals
        if self.kind == "top_k":
            chosen = _share_of(answers, labels, self.k, declaration)
        else:
            table = _as_probabilities(answers)
            chosen = table[rows, labels]
            if self.kind == "rounded":
                chosen = np.round(chosen, self.decimals)
        with np.errstate(invalid="ignore"):
            values = -np.log(np.maximum(chosen, floor))
        return np.where(_is_usable(answers), values, np.nan)

    def merge(self, losses: np.ndarray) -> np.ndarray:
        """Turn the losses of K changes, `[..., K]`, into entries of the table, `[...]`."""
        if self.kind != "label":
            return losses.mean(axis=-1)
        number = losses.shape[-1]
        hits = number - losses.sum(axis=-1)
        return -np.log((hits + 0.5) / (number + 1))


def first_labels(answers: Answers) -> np.ndarray:
    """Return the label with the best score, int64 `[b]`; the first of ties, never a NaN."""
    if answers.kind == "label":
        return answers.labels
    best = np.where(np.isnan(answers.scores), -np.inf, answers.scores).argmax(axis=1)
    if answers.kind == "top_k":
        return answers.labels[np.arange(len(best)), best]
    return best


def _is_usable(answers: Answers) -> np.ndarray:
    if answers.scores is None:
        return np.ones(len(answers), bool)
    return np.isfinite(answers.scores).all(axis=1)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scores = logits.astype(np.float64)
        shifted = scores - scores.max(axis=1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
        return np.where(np.isfinite(scores).all(axis=1), losses, np.nan)


def _as_probabilities(answers: Answers) -> np.ndarray:
    scores = answers.scores.astype(np.float64)
    if answers.kind != "logits":
        return scores
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _share_of(
    answers: Answers, labels: np.ndarray, k: int | None, declaration: Declaration
) -> np.ndarray:
    """Return each label's probability derived from the listed ones, float64 `[b]`."""
    table = _as_probabilities(answers)
    # Lists are sorted too: a suspect may not send them best first.
    order = np.argsort(-table, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(table, order, axis=1)
    listed = order
    if answers.kind == "top_k":
        listed = np.take_along_axis(answers.labels, order, axis=1)
    others = max(1, declaration.num_classes - listed.shape[1])
    with np.errstate(invalid="ignore"):
        rest = np.clip((1.0 - scores.sum(axis=1)) / others, 0.0, scores.min(axis=1))
        is_listed = listed == labels[:, None]
        return np.where(is_listed.any(axis=1), (scores * is_listed).sum(axis=1), rest)
