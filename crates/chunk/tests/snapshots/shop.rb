# frozen_string_literal: true

require 'json'

module Shop
  VERSION = '1.0'

  # What is sold.
  class Item < Struct.new(:name, :price)
    include Comparable
    attr_reader :stock

    # Compares by price.
    def <=>(other)
      price <=> other.price
    end

    def self.parse(json)
      new(*JSON.parse(json).values_at('name', 'price'))
    end

    class << self
      def all
        @all ||= []
      end
    end

    private

    def discount(rate: 0.1, &block)
      block ? block.call(price) : price * (1 - rate)
    end
  end

  def self.open?
    true
  end
end

def helper(x) = x * 2

Shop::Item.all.each do |item|
  puts item.name
end
