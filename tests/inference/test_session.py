"""A session: mixed requests equal single ones, refusals name what is allowed, nothing a request does stays."""

import json
import threading

import numpy as np
import pytest
from PIL import Image as PillowImage
from tiny import save_tiny

from healthgpt.errors import InputError, ModelError, QuestionError, TaskError
from healthgpt.imaging.image import Image
from healthgpt.inference.session import Session
from healthgpt.request import Request


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    save_tiny(place)
    return place


@pytest.fixture(scope="module")
def session(folder):
    return Session.from_pretrained(folder)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "scan.png"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    PillowImage.fromarray(pixels).save(path)
    return path


def test_mixed_requests_equal_single_ones(session, picture):
    requests = [
        Request("ask", picture, "is there a nodule"),
        Request("ct-to-mri", picture),
        Request("ask", None, "how many cells are there in this image"),
        Request("report-to-cxr", None, "a large heart"),
    ]
    mixed = session.run(requests, max_new_tokens=7)
    single = [session.run([request], max_new_tokens=7)[0] for request in requests]
    assert [mixed[0].token_ids, mixed[2].token_ids] == [single[0].token_ids, single[2].token_ids]
    assert [mixed[1].codes, mixed[3].codes] == [single[1].codes, single[3].codes]
    assert np.array_equal(mixed[1].pixels, single[1].pixels)
    assert session.run([]) == []


def test_pieces_of_a_stream_are_the_answer(session, picture):
    pieces = list(session.stream(picture, "is there a nodule", temperature=1.5, seed=3, max_new_tokens=12))
    answer = session.ask(picture, "is there a nodule", temperature=1.5, seed=3, max_new_tokens=12)
    assert len(pieces) > 1
    assert "".join(pieces) == answer.text


def test_earlier_turns_change_the_prompt(session, picture):
    fresh = session.ask(picture, "how many", max_new_tokens=8)
    later = session.ask(picture, "how many", max_new_tokens=8, history=[("is there a nodule", "yes")])
    assert fresh.confidence != later.confidence  # an untrained model may say the same, but not as surely


def test_pixels_in_memory_are_read_like_the_file(session, picture):
    pixels = np.asarray(PillowImage.open(picture)).astype(np.float32) / 255
    held = Image(pixels, "display")
    assert session.generate("reconstruct", held).codes == session.generate("reconstruct", picture).codes


def test_threads_share_one_session(session, picture):
    alone = session.generate("reconstruct", picture).codes
    answer = session.ask(picture, "is there a nodule", max_new_tokens=6).token_ids
    seen = []

    def draw():
        seen.append(session.generate("reconstruct", picture).codes == alone)

    def ask():
        seen.append(session.ask(picture, "is there a nodule", max_new_tokens=6).token_ids == answer)

    threads = [threading.Thread(target=work) for work in (draw, ask) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8


def test_a_task_the_plugin_was_not_trained_for_is_refused_unless_forced(folder, tmp_path, picture):
    copy = tmp_path / "model"
    save_tiny(copy)
    spec = copy / "plugins" / "generation" / "plugin.json"
    content = json.loads(spec.read_text())
    content["tasks"] = ["reconstruct"]
    spec.write_text(json.dumps(content))
    config = json.loads((copy / "config.json").read_text())
    del config["hashes"]["plugins/generation/plugin.json"]
    (copy / "config.json").write_text(json.dumps(config))
    limited = Session.from_pretrained(copy)
    with pytest.raises(TaskError, match="was not trained for 'ct-to-mri'; allowed: reconstruct"):
        limited.generate("ct-to-mri", picture)
    assert limited.generate("ct-to-mri", picture, force=True).pixels.size


def test_refusals(session, picture):
    with pytest.raises(QuestionError, match="empty"):
        session.ask(picture, "   ")
    with pytest.raises(QuestionError, match="context"):
        session.ask(picture, "nodule " * 300)
    with pytest.raises(TaskError, match="did you mean 'ct-to-mri'"):
        session.generate("ct-to-mr", picture)
    with pytest.raises(TaskError, match="needs an input image"):
        session.generate("ct-to-mri")
    with pytest.raises(InputError, match="--temperature"):
        session.ask(picture, "how many", temperature=-1)
    with pytest.raises(InputError, match="--max-new-tokens"):
        session.ask(picture, "how many", max_new_tokens=0)


def test_no_such_model_device_or_dtype(folder, tmp_path):
    with pytest.raises(ModelError, match="no model 'none-such'"):
        Session.from_pretrained("none-such")
    with pytest.raises(ModelError, match="allowed: nano, m3, l14, xl32 or a model folder"):
        Session.from_pretrained("nan")
    with pytest.raises(ModelError, match="is not a model folder"):
        Session.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="device 'tpu' is not available"):
        Session.from_pretrained(folder, device="tpu")
    with pytest.raises(ModelError, match="unknown dtype"):
        Session.from_pretrained(folder, dtype="int3")


def test_half_precision_still_draws(folder, picture):
    drawing = Session.from_pretrained(folder, dtype="bfloat16").generate("reconstruct", picture)
    assert np.array(drawing.codes).shape == (2, 2)


def test_guidance_is_the_model_s_own_unless_given(session, monkeypatch):
    def drawn(**settings):
        return session.generate("report-to-cxr", text="a large heart", **settings)

    plain = drawn()
    assert plain.codes == drawn(guidance=1.0).codes
    strong = drawn(guidance=9.0)
    assert strong.confidence != pytest.approx(plain.confidence, abs=1e-4)
    monkeypatch.setattr(session, "config", session.config.model_copy(update={"guidance": 9.0}))
    for guided in (drawn(), session.run([Request("report-to-cxr", None, "a large heart")])[0]):
        assert guided.codes == strong.codes
        assert guided.confidence == pytest.approx(strong.confidence, abs=1e-5)
    assert drawn(guidance=1.0).codes == plain.codes


def test_guidance_where_no_words_guide_is_refused(session, picture):
    with pytest.raises(TaskError, match="draws from no words"):
        session.generate("ct-to-mri", picture, guidance=2.0)


def test_super_resolution_is_fitted_to_its_input_and_nothing_else_is(session, picture):
    alone = session.generate("super-resolution", picture)
    batched, drawn = session.run([Request("super-resolution", picture), Request("reconstruct", picture)])
    assert alone.fitted
    assert batched.fitted
    assert np.array_equal(alone.pixels, batched.pixels)
    assert not drawn.fitted
    painted = session.paint(np.array([drawn.codes]))[0]
    assert np.array_equal(np.broadcast_to(drawn.pixels.reshape(*painted.shape[:2], -1), painted.shape), painted)
    assert alone.pixels.ndim == 2  # the input is grey
    given = session.config.preprocessing.model_copy(update={"size": len(alone.pixels)})
    with PillowImage.open(picture) as opened:
        square = given.square(np.asarray(opened))[..., 0]
    rows, _ = given.window(20, 30)
    assert np.array_equal(alone.pixels[: rows.start], square[: rows.start])
