"""The connection to a lakeFS server's REST API, and the repository itself."""

from collections.abc import Callable, Iterator
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final

from headwater.lake.errors import LakeUnavailableError, StorageError
from headwater.lake.lakefs._calls import Caller, ServerAnswerError
from headwater.lake.lakefs._settings import API_PATH, LakeFSSettings
from headwater.names import MAIN

PAGE: Final = 1000


class Api:
    """A connection to one repository.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: LakeFSSettings) -> None:
        """Connects nowhere yet."""
        self.settings = settings
        self.call = Caller(
            location=settings.location, tries=settings.tries, backoff=settings.backoff, deadline=settings.deadline
        )
        self.timeout = (settings.connect_timeout, settings.read_timeout)

    @cached_property
    def client(self) -> Any:
        """The generated client, made when first needed."""
        import lakefs_sdk
        from lakefs_sdk.client import LakeFSClient

        configuration: Any = lakefs_sdk.Configuration(
            host=self.settings.url + API_PATH, username=self.settings.access_key, password=self.settings.secret_key
        )
        configuration.retries = False
        return LakeFSClient(configuration)

    @property
    def name(self) -> str:
        """The repository's id."""
        return self.settings.repository

    def ask(
        self, action: str, method: Callable[..., Any], *args: Any, recover: Callable[[], Any] | None = None, **more: Any
    ) -> Any:
        """The answer of a method of the client that takes the repository first; tried as `Caller` says."""
        return self.call(
            action, lambda: method(self.name, *args, _request_timeout=self.timeout, **more), recover=recover
        )

    # Repository

    def version(self) -> str:
        """The server's version."""
        api = self.client.config_api
        found = self.call("tell its version", lambda: api.get_config(_request_timeout=self.timeout))
        return (found.version_config.version if found.version_config else None) or "unknown"

    def has_repository(self) -> bool:
        """Whether the repository exists."""
        return or_none(lambda: self.ask("be read", self.client.repositories_api.get_repository)) is not None

    def create_repository(self) -> None:
        """Makes the repository with a protected `main`; another process may have made it meanwhile."""
        import lakefs_sdk

        namespace = self.settings.storage_namespace or self._default_namespace()
        wanted = body(lakefs_sdk.RepositoryCreation, name=self.name, storage_namespace=namespace, default_branch=MAIN)
        api = self.client.repositories_api
        try:
            self.call("create its repository", lambda: api.create_repository(wanted, _request_timeout=self.timeout))
        except ServerAnswerError as error:
            if not self.has_repository():
                raise StorageError(
                    location=self.settings.location,
                    action="created",
                    reason=error.message,
                    remedy="Create the repository in lakeFS, or set a storage namespace the server accepts.",
                ) from error

    def _default_namespace(self) -> str:
        api = self.client.config_api
        config = self.call("tell its storage", lambda: api.get_config(_request_timeout=self.timeout)).storage_config
        prefix = config.default_namespace_prefix if config else None
        if prefix:
            return f"{prefix.rstrip('/')}/{self.name}"
        kind = config.blockstore_type if config else "local"
        return f"{kind}://{self.name}"

    def protected(self) -> tuple[str, ...]:
        """Patterns of protected branches."""
        rules = self.ask("tell its branch protection", self.client.repositories_api.get_branch_protection_rules)
        return tuple(rule.pattern for rule in rules)

    def protect(self, branch: str, *, on: bool) -> None:
        """Adds or removes the rule that names this branch, whoever else changes rules meanwhile."""
        import lakefs_sdk

        api = self.client.repositories_api
        for number in range(self.settings.tries):
            if number:
                self.call.pause(number)
            found = self.ask("tell its branch protection", api.get_branch_protection_rules_with_http_info)
            patterns = {rule.pattern for rule in found.data}
            wanted = patterns | {branch} if on else patterns - {branch}
            if wanted == patterns:
                return
            rules = [lakefs_sdk.BranchProtectionRule(pattern=pattern) for pattern in sorted(wanted)]
            try:
                self.ask("protect a branch", api.set_branch_protection_rules, rules, if_match=found.headers["ETag"])
                return
            except ServerAnswerError as error:
                if error.status != HTTPStatus.PRECONDITION_FAILED:
                    raise
        raise LakeUnavailableError(
            location=self.settings.location,
            action=f"protect branch {branch}",
            reason=f"its rules changed under each of {self.settings.tries} tries",
        )

    def pages(self, action: str, method: Callable[..., Any], *args: Any, **more: Any) -> Iterator[Any]:
        """Every item of a listing, page by page."""
        after = ""
        while True:
            page = self.ask(action, method, *args, after=after, amount=PAGE, **more)
            yield from page.results
            if not page.pagination.has_more:
                return
            after = page.pagination.next_offset


def body(model: Any, **values: Any) -> Any:
    """A request's body; the generated models have defaults that type checkers don't see."""
    return model(**values)


def or_none(ask: Callable[[], Any], *absent: HTTPStatus) -> Any:
    """An answer, None when it is one of `absent` (404 when none is given)."""
    try:
        return ask()
    except ServerAnswerError as error:
        if error.status in (absent or (HTTPStatus.NOT_FOUND,)):
            return None
        raise
