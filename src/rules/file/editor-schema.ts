import { RulesFileSchema } from './schema.ts'

/** The schema of rules files as editors want it: `rules.schema.json`, in the dialect they all know. */
export function editorSchema (): object {
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'Edgeferry rules', ...RulesFileSchema }
}
