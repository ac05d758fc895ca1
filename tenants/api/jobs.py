"""Jobs over the API. The serializers describe what ``portal.jobs.feed.job_json`` makes, for sockets and doors alike."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from portal.common.actor import Actor, Door
from portal.common.api import ApiView, ListView, answer_once
from portal.common.http import actor_of
from portal.common.idempotency import Answer
from portal.common.openapi import ReasonSerializer
from portal.common.paging import NewestFirst
from portal.common.strict import Empty, PageQuery, StrictSerializer, StrictString, checked
from portal.jobs.feed import job_json
from portal.jobs.models import Job
from portal.jobs.states import JobStatus, StepStatus
from tenants import selectors
from tenants.services.jobs import LONGEST_REASON, cancel_job, close_job, retry_job


class StepSerializer(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField(help_text="For people, in their language.")
    status = serializers.ChoiceField(
        choices=StepStatus.choices, help_text="skipped: there was nothing to do, or the job failed before it began."
    )
    progress = serializers.IntegerField(min_value=0, max_value=100)
    message = serializers.CharField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    attempts = serializers.IntegerField(min_value=0)


class StuckSerializer(serializers.Serializer):
    code = serializers.CharField()
    text = serializers.CharField()
    step = serializers.CharField()


class JobErrorSerializer(serializers.Serializer):
    code = serializers.CharField(help_text="Stable, never reused.")
    text = serializers.CharField(help_text="A sentence for people.")
    step = serializers.CharField(help_text="The step that failed; empty when none did.")
    request_id = serializers.CharField()
    undone = serializers.ListField(child=serializers.CharField(), help_text="The steps undone so far.")
    reasons = ReasonSerializer(many=True, required=False)
    figures = serializers.DictField(
        child=serializers.CharField(), required=False, help_text="What stands in the sentence."
    )
    stuck = StuckSerializer(required=False)


class TargetSerializer(serializers.Serializer):
    kind = serializers.CharField()
    id = serializers.UUIDField()
    name = serializers.CharField()


class JobSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    operation = serializers.CharField()
    title = serializers.CharField(help_text="For people, in their language.")
    status = serializers.ChoiceField(choices=JobStatus.choices)
    progress = serializers.IntegerField(min_value=0, max_value=100)
    steps = StepSerializer(many=True)
    error = JobErrorSerializer(allow_null=True)
    closed_reason = serializers.CharField(help_text="Why it was closed; empty unless it was.")
    next_try_at = serializers.DateTimeField(
        allow_null=True, help_text="When a step that failed is tried again; null unless one is."
    )
    actor = serializers.CharField(help_text="Who asked for it: the user name.")
    target = TargetSerializer()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, instance: Job) -> dict[str, Any]:
        """As the sockets send it."""
        return job_json(instance)


class StartedSerializer(serializers.Serializer):
    job = JobSerializer()


def started(job: Job, **more: Any) -> Answer:
    """202 with the job, and its address as ``Location``."""
    return Answer(status.HTTP_202_ACCEPTED, more | {"job": job_json(job)}, reverse("api:job-detail", args=[job.pk]))


class JobsQuery(PageQuery):
    """Which jobs, and which page of them."""

    status = serializers.ChoiceField(choices=JobStatus.choices, required=False)


class Jobs(ListView):
    """The jobs one may see, newest first."""

    queries: ClassVar = {"GET": JobsQuery}
    serializer_class = JobSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> Any:
        """Through the policy."""
        if not self.request.user:
            return Job.objects.none()
        rows = selectors.jobs(_actor(self.request))
        return rows.filter(status=self.query["status"]) if "status" in self.query else rows


class JobDetail(ApiView):
    """One job with its steps."""

    @extend_schema(responses=JobSerializer)
    def get(self, request: Request, uid: UUID) -> Response:
        """As it stands now."""
        return Response(job_json(selectors.get_job(_actor(request), uid)))


class JobCancel(ApiView):
    """Stop a job and undo what it did."""

    rehearsed = ("POST",)

    @extend_schema(request=Empty, responses={202: StartedSerializer}, operation_id="jobs_cancel")
    def post(self, request: Request, uid: UUID) -> Response:
        """Ask for it; the job tells when it has been undone. Asking again is the same."""
        checked(Empty, request.data)
        actor = _actor(request)
        return answer_once(request, actor, lambda: started(cancel_job(actor, uid)))


class JobRetry(ApiView):
    """Try the undo of a stuck job again."""

    rehearsed = ("POST",)

    @extend_schema(request=Empty, responses={202: StartedSerializer}, operation_id="jobs_retry")
    def post(self, request: Request, uid: UUID) -> Response:
        """Have it undone; the job tells how that goes. 409 for one that is not stuck."""
        checked(Empty, request.data)
        actor = _actor(request)
        return answer_once(request, actor, lambda: started(retry_job(actor, uid)))


class ClosingSerializer(StrictSerializer):
    """Why a job is ended although it could not be undone, and the proof that this one is meant."""

    reason = StrictString(max_length=LONGEST_REASON, help_text="What was done about what is left; the log keeps it.")
    confirm = StrictString(
        max_length=150,
        help_text="The name of what the job is about; the id's first eight characters where it has none.",
    )


class JobClose(ApiView):
    """End a stuck job, whatever it leaves behind."""

    rehearsed = ("POST",)

    @extend_schema(request=ClosingSerializer, responses={200: StartedSerializer}, operation_id="jobs_close")
    def post(self, request: Request, uid: UUID) -> Response:
        """Its locks go and its quota comes back; nothing is done on the hypervisor. 409 for one that is not stuck."""
        data, actor = checked(ClosingSerializer, request.data), _actor(request)
        return answer_once(
            request,
            actor,
            lambda: Answer(status.HTTP_200_OK, {"job": job_json(close_job(actor, uid, **data))}, ""),
        )


def _actor(request: Request) -> Actor:
    return actor_of(request, door=Door.API)
