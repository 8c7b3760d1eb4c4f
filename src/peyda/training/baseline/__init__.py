"""The baseline that the dual encoder is compared with: a correlational autoencoder over frozen features.

CorrNet (Chandar, Khapra, Larochelle & Ravindran 2016, https://arxiv.org/abs/1504.07225) learns one code for a
photograph and for its caption. Here, as in the project that Peyda follows, photographs come as features of any frozen
image encoder and captions as the mean of word2vec vectors that were trained on the training captions. What comes out is
a model directory like any other: evaluated, indexed with and searched in the same way.
"""
