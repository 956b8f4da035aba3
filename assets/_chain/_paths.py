"""Lake paths of what every product gets."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ChainPaths:
    """Where a product's derived assets are."""

    product: str

    @property
    def training_set(self) -> str:
        """Labelled rows with the features known at their time, and the part each belongs to."""
        return f"{self.product}/training_set"

    @property
    def online_features(self) -> str:
        """The newest rows of the feature tables, as a service looks them up."""
        return f"{self.product}/online_features"

    @property
    def served_parity(self) -> str:
        """What the service read, compared with what the feature tables say of the same instants."""
        return f"{self.product}/served_parity"

    @property
    def prediction_day(self) -> str:
        """The day of the newest prediction."""
        return f"{self.product}/prediction_day"

    @property
    def outcomes(self) -> str:
        """Predictions beside the labels that came in since."""
        return f"{self.product}/outcomes"

    @property
    def performance_report(self) -> str:
        """How the model in service did, by window and slice."""
        return f"{self.product}/performance_report"

    @property
    def service_report(self) -> str:
        """How the service kept its promises."""
        return f"{self.product}/service_report"

    @property
    def performance_causes(self) -> str:
        """Why the newest judged window did as it did."""
        return f"{self.product}/performance_causes"

    @property
    def retraining(self) -> str:
        """The decision whether to train again, with its evidence."""
        return f"{self.product}/retraining"

    @property
    def training_order(self) -> str:
        """What a training may know: changed by a decision to train again, and by nothing else."""
        return f"{self.product}/training_order"

    @property
    def model(self) -> str:
        """The model bundle."""
        return f"{self.product}/model"

    @property
    def evaluation(self) -> str:
        """Metrics, slices, comparisons."""
        return f"{self.product}/evaluation"

    @property
    def model_card(self) -> str:
        """The model card."""
        return f"{self.product}/model_card"

    @property
    def dataset_cards(self) -> str:
        """A card for each dataset."""
        return f"{self.product}/dataset_cards"

    @property
    def drift_report(self) -> str:
        """Drift statistics of the newest months against training, one row a column."""
        return f"{self.product}/drift_report"

    @property
    def drift_page(self) -> str:
        """Evidently's page over the same rows."""
        return f"{self.product}/drift_page"

    @property
    def predictions(self) -> str:
        """What the service answered, one row a prediction."""
        return f"{self.product}/predictions"

    @property
    def service_failures(self) -> str:
        """What the service could not answer, counted by version."""
        return f"{self.product}/service_failures"

    @property
    def rollout(self) -> str:
        """The decision whether the version that came in last goes on, back, or waits, with its evidence."""
        return f"{self.product}/rollout"

    @property
    def experiment(self) -> str:
        """How the versions of a policy that splits or explores traffic compare, and whether it ends or has learned."""
        return f"{self.product}/experiment"

    @property
    def rollout_step(self) -> str:
        """The newest step that a release has to take: changed by a decision to go on or back, and by nothing else."""
        return f"{self.product}/rollout_step"

    @property
    def retraining_orders(self) -> str:
        """Who stopped trainings, or let them begin again."""
        return f"{self.product}/retraining_orders"

    @property
    def training_refusals(self) -> str:
        """The decisions to train again that no order followed."""
        return f"{self.product}/training_refusals"

    @property
    def release_refusals(self) -> str:
        """The orders and versions that were refused."""
        return f"{self.product}/release_refusals"

    @property
    def release_orders(self) -> str:
        """What people ordered of the release, one row an order."""
        return f"{self.product}/release_orders"

    @property
    def review_answers(self) -> str:
        """What people said of uncertain predictions, one row an answer."""
        return f"{self.product}/review_answers"

    @property
    def release(self) -> str:
        """Which version is live, on which evidence."""
        return f"{self.product}/release"
