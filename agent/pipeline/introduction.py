"""What the node is and can, on `B/info`: said when it connects, and whenever a model has changed."""

from collections.abc import Mapping, Sequence

from agent.contract import payloads
from agent.contract.topics import Topics
from agent.domain.ids import ModelName
from agent.pipeline.announcements import Announcements
from agent.pipeline.swap import Admitted
from agent.ports import ModelFacts, Publication


class Introduction:
    """Keeps the retained topic true. `like` is what does not change; `models` is kept true by who swaps."""

    def __init__(
        self,
        *,
        like: payloads.Info,
        models: Mapping[ModelName, Admitted],
        topics: Topics,
        announcements: Announcements,
    ) -> None:
        self._info = like
        self._models = models
        self._topics = topics
        self._announcements = announcements

    def connected(self, last_offline: payloads.LastOffline | None) -> None:
        """There is a session again, after the broker was away as told."""
        self._info = self._info.model_copy(update={"last_offline": last_offline})
        self.tell()

    def applied(self, config_version: int) -> None:
        """Another policy is in force."""
        self._info = self._info.model_copy(update={"config_version": config_version})
        self.tell()

    def able_to(self, operations: Sequence[str]) -> None:
        """These commands are answered."""
        self._info = self._info.model_copy(update={"capabilities": tuple(operations)})

    def tell(self) -> None:
        """Say it as it is now; the same again says nothing."""
        info = with_models(
            self._info, {name: admitted.model.facts for name, admitted in self._models.items()}
        )
        self._announcements.retain(Publication(self._topics.info, payloads.encode(info), retain=True))


def with_models(info: payloads.Info, models: Mapping[ModelName, ModelFacts]) -> payloads.Info:
    """`provider` speaks for all models, or for one that did not get what it asked for."""
    providers = {
        name: payloads.Provider(asked=facts.provider_asked, used=facts.provider_used)
        for name, facts in models.items()
    }
    fallen_back = [provider for provider in providers.values() if provider.asked != provider.used]
    return info.model_copy(
        update={
            "provider": next(iter([*fallen_back, *providers.values()]), None),
            "models": {
                name: payloads.ModelInfo(
                    version=facts.version,
                    sha256=facts.sha256,
                    task=facts.task,
                    provider=providers[name],
                    graph=facts.graph,
                    precision=facts.precision,
                )
                for name, facts in models.items()
            },
        }
    )
