"""The entropy probe: every layer's entropy on a fixed probe set, the same at pretraining and at RL."""
