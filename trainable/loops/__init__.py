"""Training loops of others: what a sweep found as a file, and transformers' Trainer with a teacher.

Read found_schedule.py (the file that --export writes), collated.py (what a teacher is asked about of a collator's
batches), guided_trainer.py (the Trainer), admission.py (what it takes, and what it refuses). A plain PyTorch loop needs
none of it: trainable/README.md.
"""
