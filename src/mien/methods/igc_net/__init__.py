"""IGC-Net: graphics capsules of faces, learnt from single pictures without labels."""
