/** What an emulator still has to do in the background, so that a test can wait for the end of it. */
export class Tasks {
  readonly #running = new Set<Promise<void>>()

  /** Runs a task; its failure is the emulator's own fault and must be seen. */
  run (task: () => Promise<void>): void {
    const running = task().finally(() => { this.#running.delete(running) })
    this.#running.add(running)
  }

  /** Resolves when nothing runs, what a task started included. */
  async idle (): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }
}
