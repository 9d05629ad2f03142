"""Official LISA checkpoints as a special case of :class:`lisa_micro.models.lisa.model.LisaModel`."""
