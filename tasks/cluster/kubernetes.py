"""Workers as pods, by the Dask operator, for the length of a run."""

import contextlib
import functools
import os
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from distributed import Security
from distributed.core import rpc
from distributed.deploy.cluster import Cluster
from pydantic import Field

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster import environment
from meldflow.tasks.cluster.certificates import tls, trusting
from meldflow.tasks.cluster.profile import Part, Profile

OPERATOR = "DaskCluster/kubernetes.dask.org/v1"
"""Kind of object that the operator looks after."""

QUANTITY = r"^\d+(\.\d+)?(m|[KMGT]i?)?$"
"""An amount as Kubernetes writes it, e.g. 500m or 4Gi."""

LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""A name as Kubernetes allows it."""


class Workers(Part):
    """Worker pods that are alike, of one process and one task at a time each."""

    pods: int = Field(2, ge=1, description="How many pods.")
    threads: int = Field(1, ge=1, description="Cores of a pod, and threads of its libraries.")
    memory: str = Field("4Gi", description="Memory of a pod.", pattern=QUANTITY)
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels that a node must have."
    )


class GpuWorkers(Workers):
    """Worker pods with a GPU each."""

    resource: str = Field(
        "nvidia.com/gpu", description="What the nodes call their GPUs; a pod asks for one."
    )


class Volume(Part):
    """A volume claim, mounted in every worker."""

    claim: str = Field(description="Name of the persistent volume claim.", pattern=LABEL)
    path: str = Field(description="Where it is mounted: the same path as in the flow.")
    read_only: bool = Field(False, description="Whether workers may not write there.")


class Kubernetes(Profile):
    """A Dask cluster of pods: a scheduler, CPU workers and, where there are GPUs, GPU workers."""

    kind: Literal["kubernetes"]
    join_seconds: float = Field(
        600.0, gt=0, description="How long pods may take to start when a run begins, seconds."
    )
    image: str = Field(description="Container image with this version of meldflow.")
    namespace: str | None = Field(
        None, description="By default the one of the current context.", pattern=LABEL
    )
    service_account: str | None = Field(None, description="Account that the pods run as.")
    pull_secret: str | None = Field(None, description="Secret to pull the image with.")
    cpu: Workers = Field(
        Workers(), description="Pods that decode and, without GPUs, run the networks."
    )
    gpu: GpuWorkers | None = Field(None, description="Pods that run the networks.")
    volumes: tuple[Volume, ...] = Field(
        (), description="Where data set and store are, unless the store is on S3."
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="Further variables of the workers."
    )
    secrets: tuple[str, ...] = Field(
        (), description="Secrets whose entries become variables, e.g. the store's credentials."
    )
    tls_secret: str = Field(
        "meldflow-tls",
        description="Secret with the certificates, which pods find under the path of `tls`.",
        pattern=LABEL,
    )

    def check(self) -> None:
        """Finds out whether the operator can be asked from here.

        Raises:
            UsageError: dask-kubernetes is not installed, or there is no Kubernetes with the
                operator, or no pod has the GPUs that the networks are to run on, or `tls` and
                `adaptive` are both asked for.
        """
        self.check_gpus(self.gpu)
        if self.tls and self.adaptive:
            raise UsageError(
                "cluster: the Dask operator, which scales, speaks no TLS; take `adaptive` or `tls` "
                "out of the cluster profile"
            )
        _kube_cluster()
        _ask_for_operator()

    @contextlib.contextmanager
    def open(self) -> Iterator[Cluster]:
        """Has the operator start the pods; they are deleted at the end.

        Raises:
            UsageError: there is no Kubernetes here, no operator in it, or it refuses, or the
                certificates cannot be used.
        """
        self.check()
        kube_cluster = _kube_cluster()
        name = f"meldflow-{uuid.uuid4().hex[:8]}"
        with trusting(self.tls), contextlib.ExitStack() as stack:
            try:
                cluster: Any = kube_cluster(
                    namespace=self.namespace,
                    custom_cluster_spec=self.cluster_manifest(name),
                    resource_timeout=int(self.join_seconds),
                    shutdown_on_close=True,
                    quiet=True,
                )
                stack.enter_context(cluster)
                if self.gpu:
                    cluster.add_worker_group("gpu", custom_spec=self.gpu_workers(name, self.gpu))
                if limits := self.adaptive:
                    cluster.adapt(limits.minimum, limits.maximum)
            except Exception as error:  # each layer below has kinds of its own
                why = " ".join(str(error).split()) or type(error).__name__
                raise UsageError(f"cluster: Kubernetes starts no workers: {why}") from error
            yield cluster

    def cluster_manifest(self, name: str) -> dict[str, Any]:
        """The ``DaskCluster`` that the operator is asked for, with the CPU workers."""
        from dask_kubernetes.operator import make_cluster_spec

        roles = environment.roles_of_cpu_workers(self.gpu.pods if self.gpu else 0)
        manifest: dict[str, Any] = make_cluster_spec(
            name,
            image=self.image,
            env=environment.scheduler_environment(),
            resources={"requests": {"cpu": "500m", "memory": "1Gi"}},
        )
        scheduler = manifest["spec"]["scheduler"]
        scheduler["spec"] = self._pod(*scheduler["spec"]["containers"])
        manifest["spec"]["worker"] = self._workers(name, self.cpu, roles)
        return manifest

    def gpu_workers(self, name: str, gpu: GpuWorkers) -> dict[str, Any]:
        """The ``worker`` of a ``DaskWorkerGroup`` of the cluster with that name."""
        return self._workers(name, gpu, ("model",), {gpu.resource: "1"})

    def _workers(
        self,
        name: str,
        workers: Workers,
        roles: Sequence[str],
        devices: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        from dask_kubernetes.operator import make_worker_spec

        amounts = {"cpu": str(workers.threads), "memory": workers.memory} | (devices or {})
        manifest: dict[str, Any] = make_worker_spec(
            image=self.image,
            n_workers=workers.pods,
            resources={"requests": amounts, "limits": amounts},
            env=environment.worker_environment(workers.threads) | self.environment,
            worker_command=[
                *("dask", "worker", "--nthreads", "1", "--memory-limit", workers.memory),
                *("--resources", environment.resources_option(roles)),
            ],
        )
        (container,) = manifest["spec"]["containers"]
        container["envFrom"] = [{"secretRef": {"name": name}} for name in self.secrets]
        container["volumeMounts"] = [
            {"name": one.claim, "mountPath": one.path, "readOnly": one.read_only}
            for one in self.volumes
        ]
        if self.tls:  # the operator would say tcp
            where = f"tls://{name}-scheduler:8786"
            container["env"].append({"name": "DASK_SCHEDULER_ADDRESS", "value": where})
        # Nodes with GPUs usually turn away whatever does not ask for one.
        tolerated = [{"key": one, "operator": "Exists"} for one in devices or ()]
        manifest["spec"] = self._pod(container) | {
            "nodeSelector": dict(workers.node_selector),
            "tolerations": tolerated,
        }
        manifest["spec"]["volumes"] += [
            {"name": one.claim, "persistentVolumeClaim": {"claimName": one.claim}}
            for one in self.volumes
        ]
        return manifest

    def _pod(self, container: dict[str, Any]) -> dict[str, Any]:
        # The *restricted* profile; the user is the image's, and volumes are its group's.
        container["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        who = {"runAsNonRoot": True, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
        spec: dict[str, Any] = {"containers": [container], "volumes": [], "securityContext": who}
        if self.tls:
            variables = environment.dask_variables(tls(self.tls))
            container["env"] += [{"name": k, "value": v} for k, v in variables.items()]
            mount = {"name": "tls", "mountPath": str(self.tls), "readOnly": True}
            container["volumeMounts"] = [*container.get("volumeMounts", ()), mount]
            spec["volumes"].append({"name": "tls", "secret": {"secretName": self.tls_secret}})
        if self.service_account:
            spec["serviceAccountName"] = self.service_account
        if self.pull_secret:
            spec["imagePullSecrets"] = [{"name": self.pull_secret}]
        return spec


@functools.cache
def _kube_cluster() -> type[Any]:
    try:
        from dask_kubernetes.operator import KubeCluster, networking
        from dask_kubernetes.operator.kubecluster import kubecluster
    except ImportError as error:
        raise UsageError(
            "cluster: kind kubernetes needs dask-kubernetes; install meldflow[kubernetes]"
        ) from error

    networking.rpc = kubecluster.rpc = _ask

    class PodCluster(KubeCluster):  # type: ignore[misc]
        """Deletes what it asked for when it does not come up; speaks TLS where Dask does."""

        async def _start(self) -> None:
            try:
                await super()._start()
            except BaseException:
                with contextlib.suppress(Exception):  # the reason is what counts
                    await self._close(timeout=30)
                raise

        async def _get_scheduler_address(self) -> str:
            address: str = await super()._get_scheduler_address()
            encrypted = Security().require_encryption
            return address.replace("tcp://", "tls://") if encrypted else address

    return PodCluster


def _ask(address: str) -> rpc:
    """Dask's own, with the certificates that Dask is configured with: dask-kubernetes has none."""
    return rpc(address, connection_args=Security().get_connection_args("client"))


def _ask_for_operator() -> None:
    """Looks for the operator's kind of object, before anything is left half made."""
    import kr8s

    try:
        api = kr8s.api()
        kinds = {f"{kind['kind']}/{kind['version']}" for kind in api.api_resources()}
    except Exception as error:  # no configuration, no server, no rights: kinds of three packages
        where = os.environ.get("KUBECONFIG", "~/.kube/config")
        why = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"cluster: kind kubernetes, and no cluster answers ({why}); mend {where}, or start "
            "the run in a pod with a service account"
        ) from error
    if OPERATOR not in kinds:
        raise UsageError(
            "cluster: this Kubernetes has no Dask operator; install it (docs/clusters.md)"
        )
