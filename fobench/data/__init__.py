"""Finding, checking and preparing data sets; splits of images on the device; augmentation."""
