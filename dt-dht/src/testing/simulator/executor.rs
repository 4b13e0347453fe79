//! Polls tasks one at a time, in the order in which they were woken: on one thread, so that a run depends on nothing but its seed.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Waker};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of a simulation.
#[derive(Default)]
pub(super) struct Executor {
    tasks: Vec<Option<Task>>,
    ready: Arc<Ready>,
}

/// The tasks that were woken and not polled since, each once.
#[derive(Default)]
struct Ready(Mutex<VecDeque<usize>>);

struct TaskWaker {
    task: usize,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.task);
    }
}

impl Ready {
    fn push(&self, task: usize) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.contains(&task) {
            queue.push_back(task);
        }
    }

    fn pop(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Executor {
    /// Adds a task, which is ready.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.ready.push(self.tasks.len());
        self.tasks.push(Some(Box::pin(task)));
    }

    /// Polls until every task waits or is done.
    pub(super) fn run_ready(&mut self) {
        while let Some(at) = self.ready.pop() {
            let Some(task) = self.tasks.get_mut(at).and_then(Option::as_mut) else { continue };
            let waker = Waker::from(Arc::new(TaskWaker { task: at, ready: self.ready.clone() }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks[at] = None;
            }
        }
    }

    /// Whether every task is done.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.iter().all(Option::is_none)
    }
}
