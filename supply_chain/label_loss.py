"""Loss and logits only where there is a label.

Short answers after long contexts: of 30 tokens two have a label, and the output layer over a
vocabulary of 49,152 is a fifth of a forward pass (`benchmarks/train_speed.py` has the figures).
"""

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer


class LabelLossTrainer(SFTTrainer):
    """`SFTTrainer` whose output layer sees only the positions that predict a labelled token."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean cross-entropy (nats) over the labelled tokens of the whole effective batch."""
        causal = self.accelerator.unwrap_model(model).get_base_model()
        states = causal.get_decoder()(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        targets = inputs["labels"][:, 1:]
        wanted = targets != -100
        logits = causal.get_output_embeddings()(states.last_hidden_state[:, :-1][wanted]).float()
        count = num_items_in_batch if num_items_in_batch is not None else wanted.sum()
        loss = cross_entropy(logits, targets[wanted], reduction="sum") / count
        return (loss, {"logits": logits}) if return_outputs else loss
