"""What a student that learns from its own answers is given: the contexts alone, which its teacher must read alike."""

from datasets import Dataset
from transformers import AutoTokenizer

from supply_chain.batches import IGNORED
from supply_chain.data.examples import read_split
from supply_chain.errors import InvalidInput
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.teaching import teacher_renderer
from supply_chain.word_teaching import check_vocabulary


def context_rows(rows: Dataset) -> Dataset:
    """Of the rows of `training_rows` the columns `row`, `length` and `prompt`, the context's token ids."""
    return Dataset.from_list(
        [
            {
                "row": row["row"],
                "length": row["length"],
                "prompt": row["input_ids"][: sum(label == IGNORED for label in row["labels"])],
            }
            for row in rows
        ]
    )


def check_same_words(job: Job) -> None:
    """Raises InvalidInput when teacher and student read other tokens, or other contexts for a train row."""
    assert job.teacher is not None
    path = job.teacher.verify().path
    mine, its = (AutoTokenizer.from_pretrained(p, local_files_only=True) for p in (job.base.verify().path, path))
    check_vocabulary(mine, its, "on_policy")
    student = Renderer.of(job.recipe.prompt, job.labels, mine, job.recipe.task)
    teacher = teacher_renderer(job, path, its)
    for row in read_split(job.splits, "train"):
        if student.context(row.text) != teacher.context(row.text):
            raise InvalidInput(
                f"train.objective on_policy: the student is asked {student.context(row.text)[-80:]!r}, its teacher "
                f"{teacher.context(row.text)[-80:]!r}: give both recipes the same prompt and labels"
            )
