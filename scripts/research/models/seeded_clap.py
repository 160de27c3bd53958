#!/usr/bin/env python3
"""CLAP with seeded random weights, in the hub's layout, and the output of the reference.

    python scripts/research/models/seeded_clap.py tests/data/clap            # the tests' golden data

Needs PyPI's transformers 4.49, torch 2.6, tokenizers and safetensors. Its vectors have no meaning.
The golden data is from ClapFeatureExtractor and ClapModel of transformers (Wu et al., "Large-scale
contrastive language-audio pretraining", ICASSP 2023).
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

RATE = 48_000
# seconds of the clips, the last one for the network's stages
CLIPS = [10.0, 3.7, 6.01]
TRACKS = 200
TEXTS = [
    "rainy evening synths",
    "calm guitar",
    "a sad piano",
    "loud metal with drums",
    "happy summer pop",
    "slow jazz at night",
    "a woman sings softly",
    "fast techno",
    "choir in a church",
    "old blues",
    "strings and horns",
    "children's song",
    "reggae beat",
    "noise",
    "only a voice without drums",
    "dreamy ambient pads",
    "a marching band",
    "folk dance with fiddle",
    "hip hop with scratches",
    "Café del Mar",
]


def clip(seconds):
    """A sweep with beats: the tests make the same one by this formula."""
    t = np.arange(round(seconds * RATE)) / RATE
    sweep = 0.3 * np.sin(2 * np.pi * (110.0 + 400.0 * t) * t)
    beat = 0.2 * np.sin(2 * np.pi * 3000.0 * t) * np.exp(-8.0 * (2.0 * t - np.floor(2.0 * t)))
    return (sweep + beat).astype(np.float32)


def config():
    text = dict(
        vocab_size=400,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    audio = dict(
        patch_embeds_hidden_size=8,
        hidden_size=64,
        depths=[2, 2, 2, 1],
        num_attention_heads=[1, 2, 2, 4],
    )
    return ClapConfig(text_config=text, audio_config=audio, projection_dim=32)


def seeded(model):
    """Weights that keep activations apart, and norms that are not trivial."""
    generator = torch.Generator().manual_seed(66)
    state = model.state_dict()
    for name, tensor in state.items():
        if not tensor.is_floating_point() or "logit_scale" in name:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(400.0 * (1.0 + 0.2 * noise.abs()))
        elif name.endswith("running_mean"):
            tensor.copy_(-40.0 + 5.0 * noise)
        elif "norm" in name.lower() and name.endswith("weight"):
            tensor.copy_(1.0 + 0.1 * noise)
        elif "embeddings.weight" in name or "bias_table" in name:
            tensor.copy_(0.7 * noise)
        elif tensor.dim() > 1:
            tensor.copy_(noise * 1.3 / tensor[0].numel() ** 0.5)
        else:
            tensor.copy_(0.1 * noise)
    model.load_state_dict(state)


def tokenizer(folder, vocabulary):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        TEXTS * 3, vocab_size=vocabulary, min_frequency=2, special_tokens=special
    )
    trained.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    trained.save(str(folder / "tokenizer.json"), pretty=False)
    return trained


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    model = ClapModel(config()).eval()
    seeded(model)
    model.config.to_json_file(options.folder / "config.json")
    extractor = ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    extractor.save_pretrained(options.folder)
    # The hub's files have these buffers, too.
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    save_file(weights, options.folder / "model.safetensors", metadata={"format": "pt"})
    words = tokenizer(options.folder, model.config.text_config.vocab_size)

    golden = {}
    for seconds in CLIPS:
        mel = extractor(clip(seconds), sampling_rate=RATE, return_tensors="pt")["input_features"]
        golden[f"mel {seconds}"] = mel[0, 0, ::20].numpy()
    extractor.truncation = "fusion"
    mel_htk = extractor(clip(CLIPS[0]), sampling_rate=RATE, return_tensors="pt")["input_features"]
    golden["mel htk"] = mel_htk[0, 0, ::20].numpy()
    with torch.no_grad():
        audio = model.audio_model(mel, output_hidden_states=True)
        for at, state in enumerate(audio.hidden_states):
            golden[f"audio {at}"] = state[0].reshape(state.shape[1], -1).numpy()
        golden["audio pooled"] = audio.pooler_output[0].numpy()
        golden["audio vector"] = model.get_audio_features(mel)[0].numpy()
        vectors = []
        for text in TEXTS:
            ids = torch.tensor([words.encode(text).ids])
            if text == TEXTS[0]:
                hidden = model.text_model(ids, output_hidden_states=True)
                golden["text hidden"] = hidden.last_hidden_state[0].numpy()
                golden["text pooled"] = hidden.pooler_output[0].numpy()
            vectors.append(model.get_text_features(ids)[0].numpy())
    golden["text vectors"] = np.stack(vectors)
    tracks = np.random.default_rng(66).standard_normal((TRACKS, vectors[0].size)).astype(np.float32)
    golden["tracks"] = tracks / np.linalg.norm(tracks, axis=1, keepdims=True)
    golden = {
        name: np.ascontiguousarray(values, dtype=np.float32) for name, values in golden.items()
    }
    save_file(golden, options.folder / "golden.safetensors")
    (options.folder / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False) + "\n")
    alike = golden["text vectors"] @ golden["text vectors"].T
    shapes = {name: values.shape for name, values in golden.items()}
    print(shapes, "least cosine of texts", alike.min())


if __name__ == "__main__":
    main()
