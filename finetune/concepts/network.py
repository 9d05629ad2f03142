"""Tower, decoder and exemplar encoder together, as trained in this stage."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor, nn

from lisa_micro.models.checkpoints import load_strict, read_state, save_module
from lisa_micro.models.lisa.exemplars import ExemplarBoxes, ExemplarEncoder
from lisa_micro.models.lisa.mask_head import MaskHead, MaskHeadConfig, MaskOutputs, box_areas, point_areas
from lisa_micro.models.lisa.windows import EMPTY
from lisa_micro.models.towers.sam import ConvSamTower, SamFeatures
from lisa_micro.types import CONCEPTS, VISION_CONCEPTS
from lisa_micro_finetune.concepts.batches import ConceptBatch
from lisa_micro_finetune.concepts.losses import ConceptWeights, concept_loss
from lisa_micro_finetune.data.crops import Maps

NEAR = {
    "grain": "particle",
    "grain_boundary": "neck",
    "precipitate": "particle",
    "crack": "pore",
    "layer": "substrate",
    "fibre": "particle",
    "core": "particle",
    "shell": "particle",
    "hole": "pore",
    "satellite": "particle",
    "dislocation_loop": "particle",
    "annotation": "substrate",
}
"""Whose class embedding a new one starts near."""

PARTS = ("sam_tower", "mask_head", "exemplar_encoder")


class ConceptModel(nn.Module):
    """What this stage trains. The class embeddings of the reply language's concepts stay: the language model aims at
    them; those of the others are ``new_codes``."""

    def __init__(self, embed_dim: int = 192, depth: int = 2):
        super().__init__()
        self.sam_tower = ConvSamTower(embed_dim)
        self.mask_head = MaskHead(MaskHeadConfig(embed_dim, depth, concepts=len(CONCEPTS)))
        self.mask_head.code_book.requires_grad_(False)
        self.new_codes = nn.Parameter(torch.zeros(len(VISION_CONCEPTS) - len(CONCEPTS), embed_dim))
        self.exemplar_encoder = ExemplarEncoder(embed_dim)

    def start_from(self, folder: Path) -> None:
        """Weights of a model folder that knows the first concepts or all of them.

        Where it has a top-down path and a mask decoder for the newer concepts alone, these are gone on with.

        Raises:
            InputError: parts are missing or do not fit.
        """
        tower = read_state(folder / "sam_tower.safetensors")
        own = folder / "concept_top.safetensors"
        if own.is_file():
            tower |= read_state(own)
        load_strict(self.sam_tower, tower, "sam_tower")
        head = read_state(folder / f"{'concept_head' if own.is_file() else 'mask_head'}.safetensors")
        codes = head["code_book.weight"]
        head["code_book.weight"] = codes[: len(CONCEPTS)]
        load_strict(self.mask_head, head, "mask_head")
        with torch.no_grad():
            if len(codes) == len(VISION_CONCEPTS):
                self.new_codes.copy_(codes[len(CONCEPTS) :])
                encoder = read_state(folder / "exemplar_encoder.safetensors")
                load_strict(self.exemplar_encoder, encoder, "exemplar_encoder")
                return
            spread = float(codes[: len(CONCEPTS)].std())
            for row, name in enumerate(VISION_CONCEPTS[len(CONCEPTS) :]):
                near = codes[CONCEPTS.index(NEAR[name])]
                self.new_codes[row] = 0.6 * near + 0.8 * spread * torch.randn_like(near)

    def freeze_encoder(self, blocks: int) -> None:
        """Freeze the encoder's stem and its first ``blocks`` blocks; 0 freezes nothing."""
        encoder = self.sam_tower.encoder
        frozen = [encoder.conv_stem, encoder.bn1, *encoder.blocks[:blocks]] if blocks else []
        for module in frozen:
            module.requires_grad_(False)

    def forward(self, batch: ConceptBatch) -> MaskOutputs:
        """Outputs in the order words, exemplars, objects, points."""
        features = self.sam_tower(self.sam_tower.normalise(batch.images))
        head = self.mask_head
        size = features.embedding.shape[-2:]
        codes = torch.cat([head.code_book.weight, self.new_codes])
        parts = [head(_of(features, batch.word_rows), codes[batch.words].unsqueeze(1), batch.origin)]
        if len(batch.exemplar_rows):
            parts.append(self.by_exemplars(features, batch))
        if len(batch.object_rows):
            areas = box_areas(batch.object_boxes, *size, batch.origin)
            areas = torch.where(batch.regions < 0, areas, batch.regions)
            sparse = head.box_tokens(batch.object_boxes)
            parts.append(self.in_windows(features, batch.object_rows, batch.windows, sparse, areas, batch.origin))
        if len(batch.point_rows):
            dots = point_areas(batch.points, batch.point_labels, *size, batch.origin)
            tokens = head.point_tokens(batch.points, batch.point_labels)
            parts.append(head(_of(features, batch.point_rows), tokens, batch.origin, dots))
        return MaskOutputs(*(torch.cat(maps) for maps in zip(*parts, strict=True)))

    def by_exemplars(self, features: SamFeatures, batch: ConceptBatch) -> MaskOutputs:
        """Decode the exemplar prompts: first each box's object, then all that are alike."""
        rows = batch.exemplar_rows
        with torch.no_grad():
            masks = self.box_masks(features, batch)
        given = ExemplarBoxes(batch.exemplar_boxes, batch.exemplar_signs, masks)
        own = _of(features, rows)
        prompt = self.exemplar_encoder(own, batch.images[rows], given)
        return self.mask_head(prompt.on(own), prompt.tokens, batch.origin, prompt.areas)

    def box_masks(self, features: SamFeatures, batch: ConceptBatch) -> Tensor:
        """Probability of the object in each exemplar box, ``(N, K, H/2, W/2)``; 0 for unused boxes."""
        from lisa_micro_finetune.concepts.batches import training_window

        n, k = batch.exemplar_signs.shape
        used = (batch.exemplar_signs != 0).flatten().nonzero()[:, 0]
        boxes = batch.exemplar_boxes.reshape(-1, 4)[used]
        rows = batch.exemplar_rows.repeat_interleave(k)[used]
        cells = features.embedding.shape[-1]
        windows = [training_window(box, cells) for box in boxes.cpu().numpy()]
        corners = torch.tensor([[w.x0, w.y0, w.x1, w.y1] for w in windows])
        framed = boxes + boxes.new_tensor(batch.origin).repeat(2) * 16
        areas = box_areas(framed, *features.embedding.shape[-2:], batch.origin)
        out = self.in_windows(features, rows, corners, self.mask_head.box_tokens(framed), areas, batch.origin)
        masks = out.mask.new_zeros(n * k, *out.mask.shape[-2:])
        masks[used] = out.mask.sigmoid()
        return masks.reshape(n, k, *out.mask.shape[-2:])

    def in_windows(
        self,
        features: SamFeatures,
        rows: Tensor,
        windows: Tensor,
        sparse: Tensor,
        areas: Tensor,
        origin: tuple[int, int],
    ) -> MaskOutputs:
        """Decode N prompts, each in its window ``(N, 4)``, as at inference; distance and border are left empty."""
        height, width = features.embedding.shape[-2:]
        position = self.mask_head.position(height, width, origin)
        groups = defaultdict(list)
        for number, (x0, y0, x1, y1) in enumerate(windows.tolist()):
            groups[y1 - y0, x1 - x0].append(number)
        masks, scores, present, order = [], [], [], []
        for members in groups.values():
            spans = [windows[m].tolist() for m in members]
            crops = [int(rows[m]) for m in members]

            def cut(maps: Tensor, scale: int, which: list[int], spans=spans) -> Tensor:
                return torch.stack(
                    [
                        maps[k, :, scale * y0 : scale * y1, scale * x0 : scale * x1]
                        for k, (x0, y0, x1, y1) in zip(which, spans, strict=True)
                    ]
                )

            out = self.mask_head.decode(
                cut(features.embedding, 1, crops),
                tuple(cut(skip, 2 << level, crops) for level, skip in enumerate(features.skips)),
                cut(position, 1, [0] * len(members)),
                sparse[members],
                cut(areas, 4, members),
            )
            for row, (x0, y0, x1, y1) in enumerate(spans):
                around = (8 * x0, 8 * (width - x1), 8 * y0, 8 * (height - y1))
                masks.append(nn.functional.pad(out.mask[row], around, value=EMPTY))
            scores.append(out.iou)
            present.append(out.presence)
            order += members
        back = torch.tensor(order, device=areas.device).argsort()
        mask = torch.stack(masks)[back]
        empty = torch.zeros_like(mask)
        return MaskOutputs(mask, empty, empty, torch.cat(scores)[back], torch.cat(present)[back])


def _of(features: SamFeatures, rows: Tensor) -> SamFeatures:
    return SamFeatures(features.embedding[rows], tuple(skip[rows] for skip in features.skips))


def make_step(model: ConceptModel, weights: ConceptWeights, device: torch.device, bf16: bool):
    """The function that the loop calls with each batch."""

    def step(batch: ConceptBatch) -> tuple[Tensor, dict[str, float]]:
        target = Maps(*(x.to(device) for x in batch.targets))
        moved = batch._replace(**{name: x.to(device) for name, x in batch._asdict().items() if isinstance(x, Tensor)})
        cast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            out = model(moved)
        return concept_loss(out, moved, target, weights)

    return step


def export(model: ConceptModel, values: dict[str, Tensor], folder: Path) -> None:
    """Write the averaged weights ``values``, by name, as the three parts of a model folder (float16)."""
    state = {n: values.get(n, v) for n, v in model.state_dict().items()}
    codes = torch.cat([state["mask_head.code_book.weight"], state["new_codes"]])
    state["mask_head.code_book.weight"] = codes
    for part in PARTS:
        prefix = part + "."
        own = {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)}
        save_module(own, folder / f"{part}.safetensors")
