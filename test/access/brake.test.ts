import t from 'tap'
import { createBrake } from '../../src/access/brake.ts'

t.test('a few failures are free, then each costs its time, and time gives them back', async t => {
  let nowMs = 0
  const brake = createBrake({ burst: 3, secondsEach: 2, maxAddresses: 10, nowMs: () => nowMs })
  t.same([1, 2, 3, 4, 5].map(() => brake.fail('192.0.2.1')), [0, 0, 0, 2, 2], 'who waits is not kept waiting longer')
  t.equal(brake.fail('192.0.2.2'), 0, 'another address is another matter')
  nowMs += 1000
  t.equal(brake.fail('192.0.2.1'), 1)
  nowMs += 1000
  t.equal(brake.fail('192.0.2.1'), 0)
  t.equal(brake.fail('192.0.2.1'), 2)
  nowMs += 3_600_000
  t.same([1, 2, 3, 4].map(() => brake.fail('192.0.2.1')), [0, 0, 0, 2])
})

t.test('a subscriber is one, however many IPv6 addresses it has', async t => {
  const brake = createBrake({ burst: 1, secondsEach: 1, maxAddresses: 10, nowMs: () => 0 })
  const same = ['2001:db8:0:1::1', '2001:db8:0:1::2', '2001:0DB8::1:0:0:0:3', '2001:db8:0:1:ffff:ffff:ffff:ffff']
  t.same(same.map(address => brake.fail(address)), [0, 1, 1, 1])
  t.equal(brake.fail('2001:db8:0:2::1'), 0)
  t.same(['::ffff:192.0.2.1', '192.0.2.1'].map(address => brake.fail(address)), [0, 1])
  t.same(['::1', '0:0:0:0:0:0:0:1'].map(address => brake.fail(address)), [0, 1])
  t.same(['fe80::1%eth0', 'fe80::2%eth0'].map(address => brake.fail(address)), [0, 1])
})

t.test('memory is bounded: who failed longest ago is forgotten', async t => {
  const brake = createBrake({ burst: 1, secondsEach: 1, maxAddresses: 2, nowMs: () => 0 })
  t.same(['a', 'b', 'a', 'c', 'a', 'b'].map(address => brake.fail(address)), [0, 0, 1, 0, 1, 0])
})
