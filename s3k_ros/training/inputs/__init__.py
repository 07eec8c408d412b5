"""What a step is fed with: decoded views, their cache, augmentation, and the sources of batches."""
