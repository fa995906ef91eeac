"""Raw data to tensors and back; one file a modality."""
