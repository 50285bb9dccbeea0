"""The steps of the flow `train`, the saved model and its predictions, MLflow."""
