"""Bridges to other libraries: torch.nn's recurrent layers on Elman's engine."""
