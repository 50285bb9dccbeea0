"""The settings of the reference network; free of torch."""

from pydantic.dataclasses import dataclass

from meldflow.models.networks import common


@dataclass(frozen=True, slots=True, kw_only=True, config=common.STRICT)
class ReferenceConfig(common.TrainConfig):
    """Everything that changes a result, besides the features themselves.

    The defaults were chosen on MELD's dev split with MiniLM sentence vectors alone (one
    seed; weighted F1 of the network): class weights ``sqrt`` 0.549, ``balanced`` 0.527,
    ``none`` 0.525; learning rate 3e-4 0.549, 1e-4 0.546.
    """

    batch_size: common.BatchSize = 64
    learning_rate: common.Rate = 3e-4
    patience: common.Count = 8
    dropout: common.Dropped = 0.3
    """On the fused vector and on the attention weights; it has no parameters to count."""
    svm_c: common.Candidates = (0.3, 1.0, 3.0, 10.0)
    svm_gamma: common.Candidates = (0.03, 0.1, 0.3, 1.0)
    projection_seed: common.Seed = 20180
    """Seeds the random projections to 512; part of the adapters, not of the experiment."""
