"""`noiseloom schedule`: a recipe's nights, rendered for whatever keeps the time.

    cron.py        a cron expression, read strictly: what every target understands the same way
    night.py       what all targets need to know of a night
    systemd.py     a timer and a service      crontab.py    a crontab line
    cloud.py       what a cluster is told      manifests.py  files; the recipe's folder
    pods.py        pods with nothing but what they need
    raycluster.py  RayCluster and RayJob
    sizes.py       how large their workers are, out of the recipe's resources
    kubernetes.py  a CronJob that creates the RayJob; kuberay.py  a RayCronJob
    starter.py     runs in the cluster: creates the night's RayJob, and waits for its end

A renderer gives names and texts of files, and the same for the same input, byte for byte.
"""
