"""Support for training loops outside this project: an exported schedule, and transformers' Trainer with a teacher.

Read found_schedule.py (the file that --export writes), collated.py (from a collator's batches to the input of a
teacher), guided_trainer.py (the Trainer), admission.py (what the Trainer accepts and refuses). A plain PyTorch loop
needs none of these: trainable/README.md.
"""
