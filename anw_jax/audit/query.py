"""Query one suspect about the photos of all owners of a case."""

import itertools
from collections.abc import Sequence

import numpy as np

from anw_jax import progress
from anw_jax.audit.case import Owner
from anw_jax.audit.originals import StoredPhotos
from anw_jax.keys import AccessRule, Manifest, Units, plan_fields
from anw_jax.marks import program_of
from anw_jax.sequential import coarse_to_fine
from anw_jax.sequential.query_saving import fill_between
from anw_jax.stats import unit_losses
from anw_jax.stats.scores import is_usable
from anw_jax.suspects import Access, AnswerCache, QuerySession, Suspect
from anw_jax.suspects.pictures import Pictures
from anw_jax.suspects.query import Controls


class QueryBatch:
    """Query one suspect about any slots of any photos of a case.

    Photos of one size under marks of one type and size share a `QuerySession`, also if they are
    of several owners, unless their images are augmented with draws from an owner's seed.

    Args:
      suspect: the model.
      owners: in the order in which their photos are numbered.
      access: as declared.
      seeds: the public seed of each owner.
      cache: the answers of this suspect.
      budget: queries over the life of the cache; None for any number.
      rule: as declared; it may name a statistic of its own.
    """

    def __init__(
        self,
        suspect: Suspect,
        owners: list[Owner],
        access: Access,
        seeds: list[bytes],
        cache: AnswerCache,
        budget: int | None,
        rule: AccessRule | None = None,
    ):
        self._number_photos(owners, access, rule)
        groups: dict[tuple, list[tuple[int, int, int]]] = {}
        for number, owner in enumerate(owners):
            for index in photos_with_losses(owner, access):
                shape, mark = owner.originals.images.shapes[index], owner.published.mark
                key = (shape, program_of(mark))
                if access.num_augmentations > 1:  # drawn from the owner's own seed
                    key = (*key, number)
                groups.setdefault(key, []).append(
                    (number, int(index), self._place(number, index))
                )
        self._sessions: list[QuerySession] = []
        self._controls = Controls()  # of all sizes and owners
        for members in groups.values():
            for place, (_, _, photo) in enumerate(members):
                self._place_of[photo] = len(self._sessions), place
            self._sessions.append(self._session(suspect, members, access, seeds, cache, budget))

    def _number_photos(
        self, owners: list[Owner], access: Access, rule: AccessRule | None
    ) -> None:
        self.owners, self._access, self._rule = owners, access, rule
        self.space = owners[0].published.manifest.space
        sizes = [owner.published.manifest.num_images for owner in owners]
        self.starts = np.cumsum([0, *sizes])
        # Number of the session and place in it, by photo.
        self._place_of = np.full((self.starts[-1], 2), -1, np.int64)

    def _place(self, owner: int, index: int) -> int:
        return int(self.starts[owner] + index)

    def _session(self, suspect, members, access, seeds, cache, budget) -> QuerySession:
        numbers = sorted({number for number, _, _ in members})
        labels = None
        if access.needs_labels:
            labels = np.array([self.owners[n].originals.labels[i] for n, i, _ in members])
        return QuerySession(
            suspect,
            pictures_of([(self.owners[n].originals.images, i) for n, i, _ in members]),
            labels,
            [self.owners[number].published.mark for number in numbers],
            self.space,
            access=access,
            seed=seeds[numbers[0]],
            cache=cache,
            budget=budget,
            mark_of_image=np.array([numbers.index(n) for n, _, _ in members], np.int32),
            controls=self._controls,
        )

    def losses(
        self,
        photos: np.ndarray,
        slots: np.ndarray,
        on_progress: progress.ProgressFn = progress.silent,
    ) -> np.ndarray:
        """Compute losses, float32 `[m]`, for photos (numbered over all owners) and slots `[m]`.

        NaN for a photo that is not in the case or has no class, and where there is no usable
        answer.
        """
        values = np.full(len(photos), np.nan, np.float32)
        done = 0
        for number, session in enumerate(self._sessions):
            rows = np.flatnonzero(self._place_of[photos, 0] == number)
            if not len(rows):
                continue

            def report(now: int, _: int, before: int = done) -> None:
                on_progress(before + now, len(photos))

            places = self._place_of[photos[rows], 1]
            values[rows] = session.losses(places, slots[rows], report)
            done += len(rows)
        return values

    def pictures(self, owner: int, index: int, slot: int) -> list[np.ndarray]:
        """Return the pictures queried for a photo of an owner under one slot, by view.

        Returns:
          uint8 `[H, W, 3]` each; [] for a photo that is not queried.
        """
        session, place = self._place_of[self._place(owner, index)]
        return [] if place < 0 else self._sessions[session].pictures(int(place), slot)

    def unusable(self, owner: int, photos: Sequence[int] | None = None) -> dict[str, str]:
        """Say why photos of an owner are unusable, by file name; of the queries so far.

        Args:
          owner: number of the owner.
          photos: indices of the owner's photos; None for all.
        """
        # No suspect refused a photo without a class, since none was queried about it.
        manifest, reasons = self.owners[owner].published.manifest, {}
        for index in range(manifest.num_images) if photos is None else photos:
            session, place = self._place_of[self._place(owner, index)]
            if place < 0:
                continue
            why = self._sessions[session].unusable.get(int(place))
            if why is not None:
                reasons[manifest.file_names[index]] = why
        return reasons

    def keys(self, owner: int) -> np.ndarray:
        """Return the digests of the pictures that a full table of an owner is made from.

        Returns:
          uint8 `[n, N, views, 32]`, each `suspects.cache.question_key`. At slot 0 the unmarked
          photo where its class number is the suspect's own answer. Zeros elsewhere.
        """
        views, places = self._access.num_augmentations, self._place_of
        own = places[self.starts[owner] : self.starts[owner + 1]]
        found = np.zeros((len(own), self.space.num_slots, views, 32), np.uint8)
        for number, session in enumerate(self._sessions):
            photos = np.flatnonzero(own[:, 0] == number)
            index, slots = np.indices((len(photos), self.space.num_slots - 1)).reshape(2, -1)
            keys = session.keys(own[photos[index], 1], slots + 1, views)
            shape = (len(photos), self.space.num_slots - 1, views, 32)
            found[photos, 1:] = np.frombuffer(b"".join(keys), np.uint8).reshape(shape)
            if self._access.kind != "error" and not self._access.true_labels:
                unmarked = session.keys(own[photos, 1], np.zeros_like(photos), 1)
                found[photos, 0, 0] = np.frombuffer(b"".join(unmarked), np.uint8).reshape(
                    -1, 32
                )
        return found

    def own_labels(self) -> list[np.ndarray]:
        """Return the class numbers used, of each owner; -1 for a photo without one."""
        labels = np.full(int(self.starts[-1]), -1, np.int64)
        for number, session in enumerate(self._sessions):
            photos = np.flatnonzero(self._place_of[:, 0] == number)
            labels[photos] = session.labels[self._place_of[photos, 1]]
        return np.split(labels, self.starts[1:-1])

    def tables(
        self,
        saving: tuple[int, int] | None,
        on_progress: progress.ProgressFn = progress.silent,
    ) -> list[np.ndarray]:
        """Fill the table of each owner as the declared rule says: `saving`, or every slot."""
        if saving is None:
            return self.full_tables(on_progress)
        return self.saving_tables(*saving, on_progress)

    def full_tables(
        self, on_progress: progress.ProgressFn = progress.silent
    ) -> list[np.ndarray]:
        """Query every valid slot of every photo: one float32 `[n, N]` for each owner.

        Slot 0, which is never tested, is NaN. A row is NaN as a whole where any answer to its
        photo is missing or unusable.
        """
        num_photos, num_slots = int(self.starts[-1]), self.space.num_slots
        photos, slots = np.indices((num_photos, num_slots - 1)).reshape(2, -1)
        values = self.losses(photos, slots + 1, on_progress)
        table = np.full((num_photos, num_slots), np.nan, np.float32)
        table[:, 1:] = values.reshape(num_photos, num_slots - 1)
        table[~is_usable(table[:, 1:]).all(axis=1)] = np.nan
        return np.split(table, self.starts[1:-1])

    def saving_tables(
        self, stride: int, num_best: int, on_progress: progress.ProgressFn = progress.silent
    ) -> list[np.ndarray]:
        """Fill the same tables with fewer queries, coarse to fine over the slots.

        A unit's finished row is that of its first photo; rows of its other photos are NaN.
        Where the owner's statistic bounds the row of each image, every photo has its own row.
        """
        members = [
            [self.starts[number] + index for index in photos]
            for number, owner in enumerate(self.owners)
            for photos in photos_of_units(owner.published.manifest)
        ]
        rows, by_photo = self._coarse_to_fine(members, stride, num_best, on_progress)
        table = np.full((int(self.starts[-1]), self.space.num_slots), np.nan, np.float32)
        table[[photos[0] for photos in members], 1:] = rows
        for number, (start, end) in enumerate(itertools.pairwise(self.starts)):
            if self._takes_images(number):
                table[start:end, 1:] = by_photo[start:end]
        return np.split(table, self.starts[1:-1])

    def _takes_images(self, owner: int) -> bool:
        plan = self.owners[owner].published.plan
        return plan.statistic_of(self._rule) in plan_fields.IMAGE_STATISTICS

    def unit_row(
        self, owner: int, unit: int, saving: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Query one unit: its finished row, float64 `[N - 1]`; NaN where it has no answers.

        Where the owner's statistic bounds the row of each image, `[k, N - 1]`: the rows of the
        unit's k distinct photos.
        """
        manifest = self.owners[owner].published.manifest
        photos = self.starts[owner] + np.array(photos_of_units(manifest)[unit])
        if saving is not None:
            rows, by_photo = self._coarse_to_fine([list(photos)], *saving, progress.silent)
            return by_photo[photos] if self._takes_images(owner) else rows[0]
        num_valid = self.space.num_valid
        index, slots = np.indices((len(photos), num_valid)).reshape(2, -1)
        table = np.full((len(photos), num_valid + 1), np.nan)
        table[:, 1:] = self.losses(photos[index], slots + 1).reshape(len(photos), num_valid)
        if self._takes_images(owner):
            return table[:, 1:]
        one_unit = Units(np.zeros(len(photos), int), self.space, "per_group")
        return unit_losses(table, one_unit)[0]

    def _coarse_to_fine(
        self, members, stride, num_best, on_progress
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finished rows of units, and of all photos; NaN where there are none.

        Photos with unusable answers are left out, as in a full table.
        """
        rows = np.full((len(members), self.space.num_valid), np.nan)
        by_photo = np.full((int(self.starts[-1]), self.space.num_valid), np.nan)
        to_do = list(range(len(members)))
        while to_do:
            some = [members[unit] for unit in to_do]
            rows[to_do], unusable = self._rows_of(some, stride, num_best, on_progress, by_photo)
            by_photo[sorted(unusable)] = np.nan
            left = [[p for p in photos if p not in unusable] for photos in some]
            # Again without them; stored answers are not paid for twice.
            again = [i for i, few in enumerate(left) if 0 < len(few) < len(some[i])]
            members = {to_do[i]: left[i] for i in again}
            to_do = list(members)
        return rows, by_photo

    def _rows_of(
        self, members, stride, num_best, on_progress, by_photo
    ) -> tuple[np.ndarray, set[int]]:
        """Return rows of units from all their photos, and the photos with unusable answers.

        The photos' own rows, filled as their unit's, go to `by_photo`.
        """
        total, num_asked, unusable = len(members) * self.space.num_valid, 0, set()

        def query(units: np.ndarray, slots: np.ndarray) -> np.ndarray:
            nonlocal num_asked
            sizes = [len(members[unit]) for unit in units]
            question = np.repeat(np.arange(len(units)), sizes)
            photos = np.concatenate([members[unit] for unit in units]).astype(np.int64)
            losses = self.losses(photos, slots[question]).astype(np.float64)
            unusable.update(photos[~is_usable(losses)].tolist())
            by_photo[photos, slots[question] - 1] = losses
            num_asked += len(units)
            on_progress(num_asked, total)
            return np.bincount(question, losses, len(units))

        num_slots = self.space.num_slots
        completed = coarse_to_fine(
            query, len(members), num_slots, stride=stride, num_best=num_best
        )
        for photos, asked_slots in zip(members, completed.asked, strict=True):
            for photo in set(photos) - unusable:
                by_photo[photo] = fill_between(by_photo[photo], asked_slots)
        return completed.losses, unusable


def photos_with_losses(owner: Owner, access: Access) -> np.ndarray:
    """Return the photos that can have losses: those with a class, if labels are used."""
    present = owner.originals.present
    if not access.needs_labels:
        return present
    return present[owner.originals.labels[present] >= 0]


def photos_of_units(manifest: Manifest) -> list[list[int]]:
    """Return the distinct photos of each unit, first appearance first; copies are left out."""
    members: list[list[int]] = [[] for _ in range(manifest.num_units)]
    for index, (unit, copy) in enumerate(
        zip(manifest.unit_of_image, manifest.is_copy, strict=True)
    ):
        if not copy:
            members[unit].append(index)
    return members


def pictures_of(members: list[tuple[StoredPhotos, int]]) -> Pictures:
    """Return photos of one size, read one by one."""
    shapes = [photos.shapes[index] for photos, index in members]

    def read(number: int) -> np.ndarray:
        photos, index = members[number]
        return photos[index]

    return Pictures(shapes, read)
