//! Jobs: work that runs once, known by its name.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};

use crate::{Cluster, ClusterError, Verb, error::status_of};

/// How a Job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// There is none of that name.
    Absent,
    /// It has not ended.
    Running,
    /// It ended well. The text is the last word of the container that was asked for.
    Complete {
        /// The Job, which says what it did.
        job: Box<Job>,
        /// The termination message; none if the pod is gone already.
        message: Option<String>,
    },
    /// It failed for good.
    Failed {
        /// Why.
        message: String,
    },
}

impl Cluster {
    /// Makes a Job. One of that name that exists already is the same work and stays as it is.
    pub async fn ensure_job(&self, namespace: &str, job: &Job) -> Result<(), ClusterError> {
        let object = format!("Job {namespace}/{}", job.name_any());
        self.fence().check(&object)?;
        let api: Api<Job> = Api::namespaced(self.client().clone(), namespace);
        match api.create(&PostParams::default(), job).await {
            Ok(_) => Ok(()),
            Err(error) if status_of(&error).is_some_and(kube::core::Status::is_already_exists) => Ok(()),
            Err(source) => Err(ClusterError::request(Verb::Create, object, source)),
        }
    }

    /// Makes a claim of a volume. One of that name that exists already stays as it is.
    pub async fn ensure_claim(
        &self,
        namespace: &str,
        claim: &PersistentVolumeClaim,
    ) -> Result<(), ClusterError> {
        let object = format!("PersistentVolumeClaim {namespace}/{}", claim.name_any());
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client().clone(), namespace);
        let found = api.get_opt(&claim.name_any()).await;
        if found.map_err(|source| ClusterError::request(Verb::Get, object.clone(), source))?.is_some() {
            return Ok(());
        }
        self.fence().check(&object)?;
        match api.create(&PostParams::default(), claim).await {
            Ok(_) => Ok(()),
            Err(error) if status_of(&error).is_some_and(kube::core::Status::is_already_exists) => Ok(()),
            Err(source) => Err(ClusterError::request(Verb::Create, object, source)),
        }
    }

    /// How a Job stands, with the last word of its container `speaker`.
    pub async fn job_state(
        &self,
        namespace: &str,
        name: &str,
        speaker: &str,
    ) -> Result<JobState, ClusterError> {
        let object = format!("Job {namespace}/{name}");
        let api: Api<Job> = Api::namespaced(self.client().clone(), namespace);
        let job =
            api.get_opt(name).await.map_err(|source| ClusterError::request(Verb::Get, object, source))?;
        let Some(job) = job else { return Ok(JobState::Absent) };
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref());
        let is = |kind: &str| {
            let mut conditions = conditions.unwrap_or_default().iter();
            conditions.find(|condition| condition.type_ == kind && condition.status == "True")
        };
        if is("Complete").is_some() {
            let pods = self.job_pods(namespace, name).await?;
            let message = last_word(&pods, speaker);
            return Ok(JobState::Complete { job: Box::new(job), message });
        }
        if let Some(failed) = is("Failed") {
            let pods = self.job_pods(namespace, name).await?;
            let mut message = failed.message.clone().unwrap_or_default();
            for complaint in complaints(&pods) {
                message.push_str("; ");
                message.push_str(&complaint);
            }
            return Ok(JobState::Failed { message });
        }
        Ok(JobState::Running)
    }

    async fn job_pods(&self, namespace: &str, name: &str) -> Result<Vec<Pod>, ClusterError> {
        let api: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let parameters = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
        let list = api.list(&parameters).await.map_err(|source| {
            ClusterError::request(Verb::List, format!("pods of Job {namespace}/{name}"), source)
        })?;
        Ok(list.items)
    }
}

fn last_word(pods: &[Pod], speaker: &str) -> Option<String> {
    pods.iter()
        .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref())
        .flatten()
        .filter(|status| status.name == speaker)
        .filter_map(|status| status.state.as_ref()?.terminated.as_ref())
        .find(|end| end.exit_code == 0)
        .and_then(|end| end.message.clone())
}

/// What containers that failed said, by name.
fn complaints(pods: &[Pod]) -> Vec<String> {
    let mut complaints = Vec::new();
    for status in pods.iter().filter_map(|pod| pod.status.as_ref()) {
        let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        for container in containers {
            let Some(end) = container.state.as_ref().and_then(|state| state.terminated.as_ref()) else {
                continue;
            };
            if end.exit_code != 0 {
                let said = end.message.as_deref().unwrap_or_default().trim();
                complaints.push(format!("container {} ended with {}: {said}", container.name, end.exit_code));
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    complaints
}
