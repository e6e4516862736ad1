"""Laws of the whole model: mixed equals apart, grains by task, saved equals loaded, damage is noticed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import save_tiny, tiny_model

from healthgpt.data.collate import right_padded
from healthgpt.errors import ModelError
from healthgpt.model.checkpoint import load_model
from healthgpt.tasks import TASKS
from healthgpt.vision.preprocess import Preprocessing


def two_rows(builder, variant, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (variant.image_size, variant.image_size, 3), dtype=np.uint8)
    prompts = [
        builder.reading([("is there a nodule", "yes")], has_image=True),
        builder.drawing("turn this ct into an mri", has_image=True, codes=[1, 2, 3, 4]),
    ]
    return prompts, ["ct", "ct-to-mri"], [image, image], Preprocessing(size=variant.image_size)


def test_mixed_batch_equals_rows_apart():
    model, builder, variant = tiny_model()
    prompts, tasks, images, preprocessing = two_rows(builder, variant)
    mixed = model(right_padded(prompts, tasks, images, preprocessing))
    for row in range(2):
        apart = model(right_padded(prompts[row : row + 1], tasks[row : row + 1], images[row : row + 1], preprocessing))
        length = len(prompts[row])
        torch.testing.assert_close(mixed[row, :length], apart[0], atol=1e-5, rtol=1e-5)


def test_the_grain_follows_the_task_and_needs_only_its_blocks():
    model, _, variant = tiny_model()
    tower = model.vision.tower
    pixels = torch.randn(1, 3, variant.image_size, variant.image_size)
    ran = []
    hooks = [b.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, b in enumerate(tower.clip.encoder.layers)]
    model.vision(pixels, ["concrete"])
    assert ran == [0]  # drawing: the first block alone
    ran.clear()
    model.vision(pixels, ["abstract"])
    assert ran == list(range(tower.depth - 1))  # reading: all but the last
    for hook in hooks:
        hook.remove()


def with_features(model, batch):
    grains = [TASKS[batch.tasks[row]].grain for row in batch.image_rows]
    return replace(batch, features_NPW=model.vision.features(batch.pixels_N3SS, grains), pixels_N3SS=None)


def test_features_stand_in_for_pixels():
    model, builder, variant = tiny_model()
    prompts, tasks, images, preprocessing = two_rows(builder, variant)
    prompts.insert(1, builder.reading([("is there a nodule", "no")], has_image=False))
    batch = right_padded(prompts, [tasks[0], "other", tasks[1]], [images[0], None, images[1]], preprocessing)
    kept = with_features(model, batch)
    assert torch.equal(model(kept), model(batch))
    never_looked_at = replace(kept, pixels_N3SS=torch.full_like(batch.pixels_N3SS, torch.nan))
    assert torch.equal(model(never_looked_at), model(batch))
    assert kept.to("meta").features_NPW.is_meta


def test_rows_with_an_image_need_one():
    model, builder, variant = tiny_model()
    batch = right_padded(*two_rows(builder, variant))
    with pytest.raises(ValueError, match="2 rows have an image, and the batch holds neither pixels nor features"):
        model.embed(replace(batch, pixels_N3SS=None))
    with pytest.raises(ValueError, match="2 grains for 1 images"):
        model.embed(replace(with_features(model, batch), features_NPW=torch.zeros(1, 4, 64)))


def test_tower_states_are_those_of_the_library():
    model, _, variant = tiny_model()
    tower = model.vision.tower.eval()
    pixels = torch.randn(2, 3, variant.image_size, variant.image_size)
    library = tower.clip(pixels, output_hidden_states=True).hidden_states
    for index in (1, -2):
        torch.testing.assert_close(tower(pixels, index), library[index][:, 1:])


def test_zero_task_instruction_and_grid_embeddings_change_nothing():
    model, builder, variant = tiny_model()
    batch = right_padded(*two_rows(builder, variant))
    with torch.no_grad():
        model.fusion.task_embedding.zero_()
        model.fusion.instruction_embedding.zero_()
        model.fusion.grid_rows.zero_()
        model.fusion.grid_columns.zero_()
    ids = batch.input_ids_BT.clamp_min(0)
    plain = torch.cat([model.fusion.text_embedding, model.fusion.image_embedding])[ids]
    assert torch.equal(model.fusion.embed(ids, batch.tasks, batch.instruction_BT), plain)


def test_saved_equals_loaded(tmp_path):
    model = save_tiny(tmp_path)
    _, builder, variant = tiny_model()
    loaded, config, specs = load_model(tmp_path)
    batch = right_padded(*two_rows(builder, variant))
    assert torch.equal(model(batch), loaded(batch))
    assert set(specs) == {"comprehension", "generation"}
    assert config.hashes


@pytest.mark.parametrize("name", ["fusion.safetensors", "backbone/model.safetensors", "plugins/generation/plugin.json"])
def test_a_damaged_or_missing_file_is_named(tmp_path, name):
    save_tiny(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=f"{path.name} is damaged"):
        load_model(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match="lacks"):
        load_model(tmp_path)


def test_a_config_cannot_point_outside_its_folder(tmp_path):
    save_tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["hashes"]["../elsewhere"] = "0"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="outside the folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', '{"format": 1, "surprise": 1}'])
def test_a_malformed_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError):
        load_model(tmp_path)


def test_cells_follow_visual_tokens_and_codes_of_drawing_rows_only():
    model, builder, variant = tiny_model()
    prompts, tasks, images, preprocessing = two_rows(builder, variant)
    batch = right_padded(prompts, tasks, images, preprocessing)
    cells = model.fusion.cells_of(batch.input_ids_BT, batch.tasks)
    assert (cells[0] == -1).all()  # reading
    ids, own = batch.input_ids_BT[1], cells[1]
    assert own[ids == -200].tolist() == [0, 1, 2, 3]  # a visual token lies over its cell
    start = int((ids == builder.layout.start).nonzero())
    assert own[start : start + 4].tolist() == [0, 1, 2, 3]  # start marker and codes speak of the next cell
    words = (ids != -200) & (ids < builder.layout.text_size) & batch.mask_BT[1]
    assert (own[words] == -1).all()


def test_codes_that_look_alike_begin_alike_and_words_stay():
    model, _, variant = tiny_model()
    fusion = model.fusion
    words = fusion.text_embedding.detach().clone(), fusion.text_head.detach().clone()
    markers = fusion.image_embedding.detach()[[0, -2, -1]].clone()
    torch.manual_seed(0)
    vectors = torch.randn(variant.code_count, 6)
    vectors[1] = vectors[0] + 0.01
    fusion.place_codes(vectors)
    for rows in (fusion.image_embedding, fusion.image_head):
        codes = rows.detach()[1 : 1 + variant.code_count]
        codes = codes - codes.mean(0)
        alike = torch.nn.functional.cosine_similarity(codes[:1], codes)
        assert alike[1] > 0.2
        assert alike[2:].mean() < alike[1]
    assert torch.equal(fusion.text_embedding, words[0])
    assert torch.equal(fusion.text_head, words[1])
    assert torch.equal(fusion.image_embedding[[0, -2, -1]], markers)
