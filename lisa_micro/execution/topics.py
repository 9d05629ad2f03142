"""What is said of requests that no program can express: what cannot be told, and what could be asked instead."""

from __future__ import annotations

INSTEAD: dict[str, str] = {
    "composition": "A micrograph alone does not tell what something is made of. I can select by brightness instead, "
    'such as "the particles brighter than the mean".',
    "structure": "I cannot tell crystal structure, phase or orientation from one micrograph. I can segment what has a "
    'shape of its own, such as "segment the grain boundaries".',
    "height": "One micrograph shows two dimensions only, so heights, volumes and roughness are out of reach. I can "
    'measure diameters and areas as they are projected, such as "mean area of the particles".',
    "property": "A picture does not tell mechanical, electrical, optical or thermal properties. I can measure sizes, "
    'shapes, contacts and necks, such as "mean neck ratio".',
    "history": "The picture does not say how the specimen was made or treated. I can measure what it shows now, such "
    'as "how many particles are in contact?".',
    "prediction": "I measure what is in the picture and do not predict. I can point out candidates, such as "
    '"the closest separate pair of particles" or "the ten smallest particles".',
    "cause": "I measure what is in the picture and cannot say why it is so. I can compare groups, such as "
    '"mean diameter of the isolated particles and of those in contact".',
    "editing": "I do not change pictures. I can segment, measure and plot what they show, such as "
    '"segment all particles".',
    "instrument": "I do not operate or set up microscopes. I can measure a micrograph that is open, such as "
    '"mean diameter of the particles".',
    "other images": "I see only the micrograph that is open. To compare many, run lisa-micro batch on the folder.",
    "test": "I do not fit models or test hypotheses in a reply. I can give means, standard deviations, D10 and D90, "
    'and plots, such as "histogram of the diameters"; tables are exported for the rest.',
    "shape": "There is no measure for that shape or arrangement. I can select by circularity, aspect ratio, length, "
    'width, gap and contacts, such as "particles with an aspect ratio above 2".',
    "opinion": "I measure and do not judge. I can give the numbers to judge by, such as "
    '"mean and standard deviation of the diameter".',
    "other": "I cannot do that. I can segment, select, count, measure and plot what a micrograph shows, such as "
    '"the three largest particles that touch no neck".',
}
"""Topic of ``<cannot>`` -> two sentences: what cannot be done, what can."""
