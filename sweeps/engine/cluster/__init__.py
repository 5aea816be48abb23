"""The Ray that trials run on: started or joined, its nodes checked, its workers used for preparation."""
