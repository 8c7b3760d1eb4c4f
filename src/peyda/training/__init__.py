"""Training: towers, losses, the loop and its recipes. The only room that loads torch.

Needs the extra `train`. Knows nothing of galleries or servers; what it makes is a model directory that
`peyda.encoders` loads.
"""
