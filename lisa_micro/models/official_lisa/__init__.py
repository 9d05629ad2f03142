"""Official LISA checkpoints, a special case of :class:`lisa_micro.models.lisa.model.LisaModel`."""
