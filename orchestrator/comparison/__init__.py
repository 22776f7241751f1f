"""Evidence of change: what the enhancement did to a picture, shown beside what plain resampling would have done."""
