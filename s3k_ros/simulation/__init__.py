"""The simulated cell: MuJoCo model, controllers, real-time loop and renderer."""
