import type { Action } from './action.ts'
import { done, notFound, refuse, type Answer } from './answer.ts'
import { asPrefix, cpCodeOf, type ByteName } from './names.ts'
import type { ObjectStore } from './store.ts'

/** Every action that changes the store, but for the upload. */
export function write (store: ObjectStore, name: ByteName, { name: action, params }: Action, nowSeconds: number): Answer {
  const object = store.get(name)
  switch (action) {
    case 'delete':
      return store.delete(name) ? done('deleted\n') : notFound('nothing of that name')
    case 'mkdir': {
      const made = asPrefix(name)
      if (store.get(made) === undefined) store.set(made, { type: 'dir', sizeBytes: 0, md5: '', sha256: '', mtime: nowSeconds, micros: 0 })
      return done('successful\n')
    }
    case 'rmdir': {
      const gone = asPrefix(name)
      if (store.get(gone) === undefined) return notFound('no such directory')
      if ([...store.below(gone)].length > 1) return refuse(409, 'the directory is not empty')
      store.delete(gone)
      return done('deleted\n')
    }
    case 'rename': {
      const destination = params['destination'] as string
      if (object === undefined || object.type === 'dir') return notFound('no such file')
      if (cpCodeOf(destination) !== cpCodeOf(name)) return refuse(403, 'the destination lies in another CP code')
      store.delete(name)
      store.set(destination, object)
      return done('renamed\n')
    }
    case 'symlink':
      store.set(name, { type: 'symlink', sizeBytes: 0, md5: '', sha256: '', mtime: Number(params['mtime'] ?? nowSeconds), micros: 0, target: params['target'] as string })
      return done('successful\n')
    case 'mtime':
      if (object?.type !== 'file') return notFound('no such file')
      store.set(name, { ...object, mtime: Number(params['mtime']) })
      return done('successful\n')
    default:
      return refuse(403, `${action} is not allowed for this storage group`)
  }
}
