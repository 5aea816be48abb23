"""Export a finished trial's model as a folder that transformers loads.

Read choice.py (which trial), model_folder.py (weights and tokenizer), found_schedule.py (its teacher and schedule),
model_card.py (its README).
"""
