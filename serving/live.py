"""What is live in this process: follows the lake, loads what a new release needs beside the old, then switches at once."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import polars as pl

from headwater.errors import HeadwaterError
from headwater.features.online import OnlineContent, OnlineStore
from headwater.lake import Lake
from headwater.lake.errors import RefNotFoundError
from headwater.models.errors import BundleError
from headwater.names import MAIN
from serving.deployment import Deployment, DeploymentCache, read_deployment
from serving.engine import Engine, LoadedModel, load_model
from serving.errors import (
    AnotherLakeError,
    NotHeldError,
    NotReleasedError,
    NotRememberedError,
    ProductNotServedError,
    StatementError,
    TamperedError,
    UnforeseenError,
    name_of,
)
from serving.policies import PolicyError
from serving.publication import Publication, is_behind, published, published_for, store_name
from serving.upkeep import Upkeep

_LOG: Final = logging.getLogger("headwater.serving")
_RELEASE: Final = "/release"
_T = TypeVar("_T")
_DAMAGED: Final = (TamperedError, BundleError)
"""What a copy is told to be that something changed on this machine's disk."""
_FORESEEN: Final = (HeadwaterError, OSError)
_ANY: Final = (Exception, pl.exceptions.PanicException)
"""What one product's content or code may raise: its own trouble, and no other product's."""
PATIENCE: Final = 5.0
"""Seconds that the lake may take to answer; then the service goes on with what it has, and says so."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why the newest release of a product is not what is served, or not what a restart would serve.

    Attributes:
        product: The product.
        reason: What went wrong, for people.
        is_served: Whether it is served all the same.
    """

    product: str
    reason: str
    is_served: bool = False


class LiveProducts:
    """The engines of the served products, each replaced as a whole when the lake says so."""

    def __init__(
        self,
        *,
        open_lake: Callable[[], Lake],
        cache: DeploymentCache,
        store: OnlineStore,
        products: tuple[str, ...] = (),
        branch: str = MAIN,
        upkeep: Upkeep | None = None,
    ) -> None:
        """Prepares; nothing is read yet.

        Args:
            open_lake: Opens the lake; called again after it failed.
            cache: Copies on this machine's disk.
            store: Where online features are published for lookups.
            products: What to serve; empty serves whatever is released.
            branch: The lake branch whose releases count.
            upkeep: Looks after the store; None does so as usual.
        """
        self._open_lake, self._cache, self._store, self._branch = open_lake, cache, store, branch
        self._wanted, self._upkeep = products, upkeep or Upkeep(store)
        self._lake: Lake | None = None
        self._seen: str | None = None
        self._expected: tuple[str, ...] = ()
        self._engines: dict[str, Engine] = {}
        self._publications: dict[str, Publication | None] = {}
        self._left: dict[str, tuple[str, str]] = {}
        self._troubles: dict[str, Trouble] = {}
        self._lake_trouble, self._has_looked = "", False
        self._unrestored: frozenset[str] = frozenset()
        self._asked: float | None = None
        self._refreshing, self._putting = threading.Lock(), threading.Lock()

    @property
    def engines(self) -> Mapping[str, Engine]:
        """By product what is live."""
        return self._engines

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Products whose newest release is not what is served, or not what a restart would serve."""
        return tuple(self._troubles.values())

    @property
    def lake_trouble(self) -> str:
        """Why the lake cannot be read, empty while it can."""
        asked = self._asked
        if asked is not None and time.monotonic() - asked > PATIENCE:
            return f"The lake has been asked, and has not answered for more than {PATIENCE:.0f} seconds."
        return self._lake_trouble

    @property
    def seen(self) -> str | None:
        """The newest commit that was looked at: what it says is live, or its trouble is told."""
        return self._seen

    @property
    def is_ready(self) -> bool:
        """Whether every product can be answered that was asked for by name; without names at least one, and each other one was tried.

        One that cannot be answered, which its trouble tells, takes no answer of the others away: a new product's broken first release
        would else end the service of all.
        """
        known = self._engines.keys() if self._wanted else self._engines.keys() | self._troubles.keys()
        return bool(self._engines) and all(product in known for product in self._wanted or self._expected)

    def engine(self, product: str) -> Engine:
        """What is live of a product. Raises ProductNotServedError."""
        found = self._engines.get(product)
        if found is None:
            trouble = self._troubles.get(product)
            raise ProductNotServedError(
                product=product,
                served=tuple(self._engines),
                reason=trouble.reason if trouble else "",
                is_expected=trouble is not None or self._may_come(product),
            )
        return found

    def knows(self, product: str) -> bool:
        """Whether it was asked to serve a product, or found its release: whatever a caller writes is a name too."""
        return product in self._wanted or product in self._engines or product in self._troubles

    def _may_come(self, product: str) -> bool:
        """Whether a product that nothing is live of may be one that is served, as far as is known."""
        return product in self._wanted if self._wanted else not self._has_looked or bool(self.lake_trouble)

    def refresh(self) -> tuple[str, ...]:
        """Looks at the lake, and switches what changed. One thread at a time; others find it done.

        Returns:
            The products that were switched.
        """
        with self._refreshing:
            try:
                switched = self._refreshed()
            finally:
                self._has_looked = True
            self._upkeep.look(self._uses)
        return switched

    def hold(self) -> tuple[str, ...]:
        """Goes on with what was taken last, while another thread still waits for the lake.

        Returns:
            The products that are live by it.
        """
        taken = self._from_disk()
        self._upkeep.look(self._uses)
        return taken

    def _uses(self) -> Iterator[tuple[str, str]]:
        """Product and name of the online features of what is live, and of the copies that a roll-back would be served from."""
        yield from ((product, engine.online_name) for product, engine in self._engines.items() if engine.online_name)
        for product, shape in self._cache.shapes():
            if not self._wanted or product in self._wanted:
                yield product, store_name(product, shape)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Around what only the lake can answer: loading a model takes its time too, and is no fault of the lake."""
        self._asked = time.monotonic()
        try:
            yield
        finally:
            self._asked = None

    def _restore(self, lake: Lake | None = None) -> None:
        """Publishes again what a store has lost, from this machine's copies: a Redis that was started anew is empty.

        What one product's copies do not give leaves the others their own. With the lake, a damaged copy is fetched again first.
        """
        failed = set()
        for product, engine in self._engines.items():
            try:
                if engine.deployment.online is None or engine.is_published():
                    continue
                self._publish_again(engine, lake, commit=engine.deployment.online_at)
            except _ANY as error:  # requests say so, and the next look tries again
                if product not in self._unrestored:
                    _warn("online features are away", product, *_told(error))
                failed.add(product)
        self._unrestored = frozenset(failed)

    def _put_right(self, lake: Lake, head: str) -> None:
        """Publishes what a commit says where the store has another content that is older, whoever published that."""
        for product, engine in self._engines.items():
            trouble, wanted = self._troubles.get(product), self._publications.get(product)
            if wanted is None or (trouble is not None and not trouble.is_served):
                continue  # what is live is not what this commit says
            at = engine.deployment.online_commit or head
            fault: BaseException | None = None
            try:
                there = published(self._store, wanted.name)
                if there is None or wanted.is_in(there):
                    self._left.pop(product, None)
                    continue
                if self._left.get(product) == (at, there.commit):
                    continue
                if self._is_behind(lake, there.commit, at):
                    self._publish_again(engine, lake, commit=at)
                    continue
                reason, judged = f"those at {there.commit[:12]} are not older", (at, there.commit)
            except _ANY as error:
                (reason, fault), judged = _told(error), ("", "")
            if product not in self._left:
                _warn("the store answers from other online features", product, reason, fault)
            self._left[product] = judged  # newer, or of another branch or lake: to take turns would never end

    def _is_behind(self, lake: Lake, commit: str, head: str) -> bool:
        with self._asking():
            return is_behind(lake, commit, head)

    def _publish_again(self, engine: Engine, lake: Lake | None, *, commit: str) -> None:
        content = self._content(engine.deployment, lake)
        assert content is not None
        self._store.publish(engine.online_name, content, commit=commit)
        _LOG.info("published online features again", extra={"product": engine.product})

    def _refreshed(self) -> tuple[str, ...]:
        self._restore()
        try:
            with self._asking():
                lake = self._lake = self._lake or self._open_lake()
                head = lake.resolve(self._branch).id
                is_followed = head == self._seen and not self._troubles
                products = () if is_followed else self._wanted or _released(lake, head)
        except _ANY as error:
            self._lose(error)
            return self._from_disk()
        self._lake_trouble = ""
        if self._unrestored:
            self._restore(lake)
        if not self._has_looked:
            self._expected = (
                products  # later ones once they were tried: to load one beside what is live takes nothing away
            )
        switched = tuple(product for product in products if self._follow(lake, head, product))
        if not is_followed:
            self._drop(lake, products)
            self._seen, self._expected = head, products
        self._put_right(lake, head)
        return switched

    def _lose(self, error: BaseException) -> None:
        """Notes why the lake cannot be read."""
        reason, fault = _told(error)
        if fault is not None and reason != self._lake_trouble:
            _LOG.error("the lake cannot be read", extra={"reason": reason}, exc_info=fault)
        self._lake, self._lake_trouble = None, reason

    def _follow(self, lake: Lake, head: str, product: str) -> bool:
        """Switches a product to what a commit says. What cannot be served leaves everything as it was, and the other products theirs."""
        try:
            return self._followed(lake, head, product)
        except NotReleasedError as error:
            self._withdraw(product)
            self._trouble(product, error)
        except _ANY as error:
            self._hold(product, is_told=False)
            self._trouble(product, error)
        return False

    def _followed(self, lake: Lake, head: str, product: str) -> bool:
        with self._asking():
            wanted = self._wanted_of(lake, product, head)
        before = self._engines.get(product)
        is_live = before is not None and replace(wanted, commit=before.deployment.commit) == before.deployment
        if not is_live:
            with self._asking():
                self._cache.take(lake, wanted)
            self._switch(wanted, lake)
        self._remember(self._engines[product].deployment, before, is_new=not is_live)
        return not is_live

    def _wanted_of(self, lake: Lake, product: str, head: str) -> Deployment:
        """What a commit says of a product. Raises NotReleasedError, AnotherLakeError and what reading it raises."""
        try:
            return read_deployment(lake, product, ref=head)
        except NotReleasedError:
            self._check_same(lake, product)
            raise

    def _check_same(self, lake: Lake, product: str) -> None:
        """Whether a lake that releases a product no more is the one that released it. Raises AnotherLakeError."""
        engine = self._engines.get(product)
        try:
            commit = (engine.deployment if engine is not None else self._cache.held(product)).commit
        except (NotHeldError, PolicyError, StatementError):
            return  # nothing that could be served on
        try:
            lake.resolve(commit)
            is_same = _root(lake, commit) == _root(
                lake, self._branch
            )  # on lakeFS, a commit that was read once resolves for ever
        except RefNotFoundError:
            is_same = False
        if not is_same:
            self._lake = None  # the right one comes back in the same place
            raise AnotherLakeError(product=product, commit=commit)

    def _remember(self, deployment: Deployment, before: Engine | None, *, is_new: bool) -> None:
        """Keeps what is live for a start without the lake. A disk that is full is no reason to go on with another release."""
        product = deployment.product
        try:
            if is_new or not self._cache.remembers(deployment):
                self._cache.remember(deployment)
        except OSError as error:
            self._trouble(product, NotRememberedError(product=product, reason=str(error)), is_served=True)
            return
        self._troubles.pop(product, None)
        if is_new:
            with suppress(OSError):
                self._cache.forget(product, keep=[deployment, *([before.deployment] if before else [])])

    def _drop(self, lake: Lake, released: tuple[str, ...]) -> None:
        """Lets go of products that the lake releases no more, and of their troubles: a fresh service would know of neither."""
        known = {*self._engines, *self._troubles, *(() if self._wanted else self._cache.products())}
        for product in known.difference(released):
            try:
                with self._asking():
                    self._check_same(lake, product)
            except _ANY as error:
                self._hold(product, is_told=False)
                self._trouble(product, error)
                continue
            if self._withdraw(product):
                self._troubles.pop(product, None)

    def _withdraw(self, product: str) -> bool:
        """Takes out a product without a release, here and for the next start; otherwise workers would differ about it."""
        try:
            self._cache.withdraw(product)
        except OSError as error:
            self._trouble(product, error)
            return False
        finally:
            with self._putting:
                if product in self._engines:
                    self._engines = {name: engine for name, engine in self._engines.items() if name != product}
                    _LOG.warning("no longer released, and not served any more", extra={"product": product})
        return True

    def _from_disk(self) -> tuple[str, ...]:
        """Without the lake: what was taken last, for products that nothing is live of."""
        names = self._wanted or self._cache.products()
        self._expected = self._expected or names
        return tuple(product for product in names if self._hold(product))

    def _hold(self, product: str, *, is_told: bool = True) -> bool:
        """Goes on with what was taken last of a product; what is wrong with that is told unless its caller has more to tell."""
        if product in self._engines:
            return False
        try:
            return self._switch(self._cache.held(product), None)
        except NotHeldError:
            return False
        except _ANY as error:
            if is_told:
                self._trouble(product, error)
            return False

    def _switch(self, deployment: Deployment, lake: Lake | None) -> bool:
        """Loads beside what is live, then puts it in its place in one step. What is only held, with no lake, never replaces anything."""
        product = deployment.product
        before = self._engines.get(product)
        models = {version: self._model(deployment, version, before, lake) for version in deployment.models}
        content = self._content(deployment, lake)
        if content is None:
            publication, engine = None, Engine(deployment, models)
        else:
            precedes = partial(self._is_behind, lake) if lake is not None else None
            publication = published_for(self._store, product, content, commit=deployment.online_at, precedes=precedes)
            engine = Engine(deployment, models, store=self._store, store_name=publication.name)
        with self._putting:
            if lake is None and (product in self._engines or self._cache.held(product) != deployment):
                return False  # meanwhile the lake has said what is live, or that nothing is
            self._troubles.pop(product, None)
            self._publications[product] = publication
            self._engines = {**self._engines, product: engine}
        said = {"product": product, "policy": deployment.policy.kind, "commit": deployment.commit}
        _LOG.info("serving", extra=said)
        return True

    def _model(self, deployment: Deployment, version: str, before: Engine | None, lake: Lake | None) -> LoadedModel:
        if before is not None and before.deployment.models.get(version) == deployment.models[version]:
            return before.models[version]
        bundle = self._whole(partial(self._cache.bundle, deployment, version), deployment, version, lake)
        return load_model(deployment.product, version, bundle)

    def _content(self, deployment: Deployment, lake: Lake | None) -> OnlineContent | None:
        return self._whole(partial(self._cache.online, deployment), deployment, None, lake)

    def _whole(self, read: Callable[[], _T], deployment: Deployment, version: str | None, lake: Lake | None) -> _T:
        """What a copy holds. One that was damaged is fetched again, once, where there is a lake."""
        try:
            return read()
        except _DAMAGED as error:
            if lake is None:
                raise
            with self._asking():
                self._cache.renew(lake, deployment, version, error)
        return read()

    def _trouble(self, product: str, error: BaseException, *, is_served: bool = False) -> None:
        reason, fault = _told(error)
        if fault is not None:
            reason = str(UnforeseenError(product=product, error=fault))
        found = Trouble(product=product, reason=reason, is_served=is_served)
        if self._troubles.get(product) != found:
            said = "cannot remember what is live" if is_served else "cannot serve the newest release"
            _LOG.error(said, extra={"product": product, "reason": reason}, exc_info=fault)
        self._troubles[product] = found


def _told(error: BaseException) -> tuple[str, BaseException | None]:
    """What is said of an error, and the error itself where nobody foresaw it: the log then says where it was raised."""
    return (str(error), None) if isinstance(error, _FORESEEN) else (name_of(error), error)


def _warn(said: str, product: str, reason: str, fault: BaseException | None) -> None:
    _LOG.warning(said, extra={"product": product, "reason": reason}, exc_info=fault)


def _root(lake: Lake, ref: str) -> str:
    """The oldest commit."""
    *_, first = lake.log(ref)
    return first.id


def _released(lake: Lake, head: str) -> tuple[str, ...]:
    paths = lake.at(head).paths()
    return tuple(path.removesuffix(_RELEASE) for path in paths if path.endswith(_RELEASE) and path.count("/") == 1)
